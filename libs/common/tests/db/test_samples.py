import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from manman.db.samples import SERVERS, SESSIONS, SampleRow
from manman.domain.samples import Window
from manman.messages.health import HostSample, SessionSample
from manman_devstack.eventually import eventually


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


async def store(world: Any, at_s: float, *sessions: SessionSample, span_s: int = 15, **machine: Any) -> None:
    """Store what the world's host sent so many seconds after its beginning."""
    host = HostSample(**machine) if machine else None
    row = SampleRow(world.server_id, world.now + seconds(at_s), span_s, host, list(sessions))
    async with world.uow.batch() as batch:
        batch.add_samples([row])
        await batch.commit()


def hour(world: Any, step_s: int) -> Window:
    return Window(world.now, world.now + seconds(3600), step_s)


async def test_a_point_is_the_mean_of_its_step_and_knows_the_peaks(world: Any) -> None:
    session_id = await world.session()
    for at_s, cpu, players in ((0, 1, 4), (15, 3, None), (30, 0.5, 5), (65, 7, None)):
        await store(world, at_s, SessionSample(session_id=session_id, cpu_cores=cpu, players=players))
    first, second = await world.uow.reads.samples.of_session(session_id, hour(world, 60))
    assert (first.at, second.at) == (world.now, world.now + seconds(60))
    assert first.values == {"cpu_cores": 1.5, "cpu_cores_peak": 3, "players": 4.5, "players_peak": 5}
    assert second.values == {"cpu_cores": 7, "cpu_cores_peak": 7}


async def test_a_row_counts_for_the_time_that_it_stands_for_and_limits_are_not_averaged(world: Any) -> None:
    await store(world, 0, span_s=90, load=1, memory_bytes=2**40, memory_total_bytes=2**41, cpu_count=2)
    await store(world, 90, span_s=30, load=5, memory_bytes=2**40, memory_total_bytes=2**42, cpu_count=4)
    (point,) = await world.uow.reads.samples.of_server(world.server_id, hour(world, 3600))
    assert point.values == {
        "load": 2,
        "memory_bytes": 2**40,
        "memory_bytes_peak": 2**40,
        "memory_total_bytes": 2**42,
        "cpu_count": 4,
    }


async def test_only_what_is_within_the_window_is_shown_and_only_of_the_one_asked_for(world: Any) -> None:
    session_id, other = await world.session(), await world.session()
    for at_s in (-1, 0, 3599, 3600):
        await store(world, at_s, SessionSample(session_id=session_id), SessionSample(session_id=other))
    points = await world.uow.reads.samples.of_session(session_id, hour(world, 15))
    assert [point.at - world.now for point in points] == [seconds(0), seconds(3585)]


async def test_numbers_of_a_session_that_is_deleted_at_that_moment_are_left_out(world: Any, engine: Any) -> None:
    session_id, other = await world.session(), await world.session()
    async with engine.connect() as connection, asyncio.TaskGroup() as group:
        await connection.execute(text("DELETE FROM sessions WHERE session_id = :id"), {"id": session_id})
        both = (SessionSample(session_id=session_id), SessionSample(session_id=other))
        storing = group.create_task(store(world, 0, *both))
        await eventually(lambda: _is_waited_for(engine))
        assert not storing.done()
        await connection.commit()
    assert await world.uow.reads.samples.of_session(session_id, hour(world, 60)) == []
    assert len(await world.uow.reads.samples.of_session(other, hour(world, 60))) == 1


@pytest.mark.parametrize("series", [SESSIONS, SERVERS])
async def test_a_deletion_under_way_and_putting_together_do_not_block_each_other_for_ever(
    world: Any, engine: Any, series: Any
) -> None:
    session_id = await world.session()
    for at_s in range(0, 300, 15):
        await store(world, at_s, SessionSample(session_id=session_id), load=1)

    async def put_together() -> int:
        async with world.uow() as tx:
            moved: int = await tx.samples.put_together(series, before=world.now + seconds(300), limit=100)
            await tx.commit()
            return moved

    async with engine.connect() as connection, asyncio.TaskGroup() as group:
        await connection.execute(text(f"SELECT 1 FROM {series.owners} FOR UPDATE"))  # noqa: S608 - a name of ours
        putting = group.create_task(put_together())
        await eventually(lambda: _is_waited_for(engine))
        await connection.execute(text(f"DELETE FROM {series.owners}"))  # noqa: S608 - the same
        await connection.commit()
    assert putting.result() == 0


async def _is_waited_for(engine: Any) -> None:
    async with engine.connect() as connection:
        waiting = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    assert waiting == 1
