"""The numbers of hosts and games: stored once, put together when they are old, and forgotten in the end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY

from manman.domain.sessions import Status
from manman.messages.health import Heartbeat, HostSample, Samples, SessionSample
from manman_processor.settings import Settings
from manman_processor.sweeps import samples

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def sent(at: datetime, *sessions: SessionSample, host: HostSample | None = None) -> Samples:
    return Samples(taken_at=at, interval_seconds=15, host=host, sessions=list(sessions))


async def beat(desk: Any, server_id: int, *numbers: Samples | None) -> list[Exception | None]:
    """Let heartbeats with these numbers come in one batch."""
    beats = [Heartbeat(server_id=server_id, samples=one) for one in numbers]
    results: list[Exception | None] = await desk.take(*[(f"health.host.{server_id}", one) for one in beats])
    return results


def stored(database: Any, columns: str = "session_id, at", table: str = "session_samples") -> list[tuple[Any, ...]]:
    rows = database.rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2")  # noqa: S608 - names of ours
    return [tuple(row.values()) for row in rows]


async def test_what_a_heartbeat_brings_is_stored_with_what_is_not_known_left_open(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    game = SessionSample(session_id=session_id, cpu_cores=0.5, memory_bytes=2**40, players=0)
    machine = HostSample(cpu_cores=1.5, cpu_count=2, memory_total_bytes=2**34)
    assert await beat(desk, world.server_id, sent(NOW, game, host=machine)) == [None]
    (row,) = database.rows("SELECT * FROM session_samples")
    assert {name: value for name, value in row.items() if value is not None} == {
        "session_id": session_id,
        "at": NOW,
        "span_seconds": 15,
        "cpu_cores": 0.5,
        "memory_bytes": 2**40,
        "players": 0,
    }
    columns = "server_id, at, cpu_cores, cpu_count, memory_total_bytes, load"
    assert stored(database, columns, "server_samples") == [(world.server_id, NOW, 1.5, 2, 2**34, None)]


async def test_a_sample_that_comes_again_is_stored_once(desk: Any, world: Any, database: Any) -> None:
    numbers = sent(NOW, SessionSample(session_id=await world.session(Status.RUNNING)), host=HostSample(load=1))
    await beat(desk, world.server_id, numbers, numbers)
    await beat(desk, world.server_id, numbers)
    assert len(stored(database)) == 1
    assert len(stored(database, "server_id, at", "server_samples")) == 1


async def test_the_numbers_of_every_heartbeat_in_a_batch_are_stored_though_only_the_last_is_worked_on(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    times = [NOW - timedelta(seconds=15 * number) for number in (2, 1, 0)]
    numbers = [sent(at, SessionSample(session_id=session_id)) for at in times]
    assert await beat(desk, world.server_id, *numbers, None) == [None] * 4
    assert stored(database) == [(session_id, at) for at in times]


async def test_heartbeats_without_numbers_store_none(desk: Any, world: Any, database: Any) -> None:
    await beat(desk, world.server_id, None)
    await beat(desk, world.server_id, sent(NOW))
    assert stored(database) == []
    assert stored(database, "server_id, at", "server_samples") == []


async def test_numbers_of_a_session_that_is_gone_or_on_another_host_are_left_out_and_nothing_is_refused(
    desk: Any, world: Any, database: Any, uow: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    async with uow() as tx:
        other = await tx.servers.add(name="other", status="online")
        await tx.commit()
    both = sent(NOW, SessionSample(session_id=session_id), SessionSample(session_id=10**12), host=HostSample(load=1))
    assert await beat(desk, other.server_id, both) == [None]
    assert stored(database) == []
    assert stored(database, "server_id, at", "server_samples") == [(other.server_id, NOW)]


async def test_numbers_of_an_unknown_host_are_not_stored(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    (first, last) = await beat(desk, 77, sent(NOW, SessionSample(session_id=session_id), host=HostSample()), None)
    assert (first, str(last)) == (None, "there is no server 77")
    assert stored(database) == []


@pytest.mark.parametrize("late", [timedelta(hours=1), timedelta(hours=-1)])
async def test_numbers_of_a_host_whose_clock_is_wrong_are_counted_and_not_stored(
    desk: Any, world: Any, database: Any, late: timedelta
) -> None:
    before = REGISTRY.get_sample_value("manman_samples_untimely_total") or 0
    session_id = await world.session(Status.RUNNING)
    assert await beat(desk, world.server_id, sent(NOW - late, SessionSample(session_id=session_id))) == [None]
    assert stored(database) == []
    assert REGISTRY.get_sample_value("manman_samples_untimely_total") == before + 1


def fill(database: Any, session_id: int, start: datetime, count: int, **values: str) -> None:
    """Insert a sample for each 15 s; `values` are SQL, in which `n` counts from 0."""
    names, expressions = ", ".join(["session_id", "at", "span_seconds", *values]), ", ".join(values.values())
    with psycopg.connect(database.url) as connection:
        connection.execute(
            f"INSERT INTO session_samples ({names}) SELECT %s, %s + n * interval '15 s', 15, {expressions}"  # noqa: S608 - names of ours
            " FROM generate_series(0, %s) n",
            (session_id, start, count - 1),
        )


async def test_old_samples_become_means_and_peaks_of_five_minutes_and_young_ones_stay(
    world: Any, database: Any, uow: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    fill(database, session_id, NOW - 7 * HOUR, 40, cpu_cores="n", memory_bytes="100 * n", players="nullif(n, 0)")
    fill(database, session_id, NOW - HOUR, 3, cpu_cores="n", memory_bytes="n", players="n")
    assert await samples.sweep(uow, NOW, 6 * HOUR, 14 * DAY) == 40
    columns = "at, span_seconds, cpu_cores, cpu_cores_peak, memory_bytes, memory_bytes_peak, players, players_peak"
    first, second, *young = stored(database, columns)
    assert first == (NOW - 7 * HOUR, 300, 9.5, 19, 950, 1900, 10, 19)
    assert second == (NOW - 7 * HOUR + timedelta(minutes=5), 300, 29.5, 39, 2950, 3900, 29.5, 39)
    assert [row[1] for row in young] == [15, 15, 15]


async def test_a_sweep_that_comes_again_or_late_leaves_what_one_in_time_would(
    world: Any, database: Any, uow: Any
) -> None:
    one, other = await world.session(Status.RUNNING), await world.session(Status.RUNNING)
    for session_id in (one, other):
        fill(database, session_id, NOW - 30 * HOUR, 3 * samples.OLDEST_AT_ONCE - 10, cpu_cores="mod(n, 20)")
    assert await samples.sweep(uow, NOW, 6 * HOUR, 14 * DAY) == 2 * (3 * samples.OLDEST_AT_ONCE - 10)
    once = stored(database, "session_id, at, cpu_cores, cpu_cores_peak")
    assert {row[2:] for row in once} == {(9.5, 19)}
    assert await samples.sweep(uow, NOW, 6 * HOUR, 14 * DAY) == 0
    assert stored(database, "session_id, at, cpu_cores, cpu_cores_peak") == once


async def test_five_minutes_that_are_not_over_are_not_put_together_yet(world: Any, database: Any, uow: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    fill(database, session_id, NOW - 6 * HOUR, 20, cpu_cores="n")
    assert await samples.sweep(uow, NOW + timedelta(seconds=299), 6 * HOUR, 14 * DAY) == 0
    assert await samples.sweep(uow, NOW + timedelta(seconds=300), 6 * HOUR, 14 * DAY) == 20


async def test_samples_are_over_when_they_are_old(world: Any, database: Any, uow: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    fill(database, session_id, NOW - 15 * DAY, 20, cpu_cores="n")
    fill(database, session_id, NOW - 13 * DAY, 20, cpu_cores="n")
    assert await samples.sweep(uow, NOW, 6 * HOUR, 14 * DAY) == 41
    assert stored(database) == [(session_id, NOW - 13 * DAY)]


async def test_samples_go_with_their_session_and_their_host(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.COMPLETED)
    await beat(desk, world.server_id, sent(NOW, SessionSample(session_id=session_id), host=HostSample(load=1)))
    assert len(stored(database)) == 1
    with psycopg.connect(database.url) as connection:
        connection.execute("DELETE FROM servers")
    assert stored(database) == []
    assert stored(database, "server_id, at", "server_samples") == []


def test_samples_are_kept_for_longer_than_they_are_kept_as_they_came(settings: Settings) -> None:
    urls = {"pg_database_url": settings.pg_database_url, "rabbitmq_url": settings.rabbitmq_url}
    with pytest.raises(ValueError, match="SAMPLES_KEEP_DAYS must be longer"):
        Settings(**urls, samples_keep_raw_hours=48, samples_keep_days=2)
