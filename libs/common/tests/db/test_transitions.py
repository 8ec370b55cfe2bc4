from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages.codec import decode
from manman.messages.external import SessionEvent
from manman.messages.status import OutputLine

LATER = timedelta(seconds=30)


async def move(world: Any, session_id: int, *changes: Change, now: Any = None) -> Any:
    async with world.uow() as tx:
        row = await tx.sessions.lock(session_id)
        for change in changes:
            await transitions.apply(tx, row, change, now=now or world.now)
        await tx.commit()
        return row


async def events(world: Any) -> list[SessionEvent]:
    async with world.uow() as tx:
        return [decode(SessionEvent, row.body) for row in await tx.outbox.unpublished(limit=100)]


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (Status.STARTING, None),
        (Status.RUNNING, "manman.session.running"),
        (Status.STOPPING, None),
        (Status.STOPPED, "manman.session.stopped"),
        (Status.COMPLETED, "manman.session.stopped"),
        (Status.CRASHED, "manman.session.crashed"),
        (Status.LOST, "manman.session.lost"),
    ],
)
async def test_each_state_is_announced_under_its_key_or_not_at_all(world: Any, status: Status, key: str | None) -> None:
    await move(world, await world.session(), Change(status=status))
    async with world.uow() as tx:
        assert [row.routing_key for row in await tx.outbox.unpublished(limit=9)] == ([key] if key else [])


async def test_an_event_tells_what_happened_to_what(world: Any) -> None:
    session_id = await world.session()
    change = Change(status=Status.CRASHED, reason="oom", message="out of memory", exit_code=137)
    row = await move(world, session_id, Change(status=Status.RUNNING), change)
    last = (await events(world))[-1]
    assert (last.session_id, last.sgc_id, last.server_id) == (session_id, row.sgc_id, world.server_id)
    assert (last.status, last.previous_status, last.final_status) == ("crashed", "running", "crashed")
    assert (last.reason, last.message, last.exit_code) == ("oom", "out of memory", 137)
    assert last.occurred_at == world.now


async def test_nothing_is_emitted_when_the_transaction_rolls_back(world: Any) -> None:
    session_id = await world.session()
    async with world.uow() as tx:
        row = await tx.sessions.lock(session_id)
        await transitions.apply(tx, row, Change(status=Status.RUNNING), now=world.now)
        await tx.flush()
    assert await events(world) == []
    async with world.uow() as tx:
        assert (await tx.sessions.get(session_id)).status == "pending"


async def test_the_start_is_recorded_once_and_the_end_on_leaving_the_live_states(world: Any) -> None:
    session_id = await world.session()
    row = await move(world, session_id, Change(status=Status.RUNNING))
    row = await move(world, session_id, Change(status=Status.STOPPING), now=world.now + LATER)
    row = await move(world, session_id, Change(status=Status.RUNNING, reason="stop_failed"), now=world.now + LATER)
    assert (row.started_at, row.ended_at) == (world.now, None)
    stopped = Change(status=Status.STOPPED, occurred_at=world.now + 2 * LATER)
    row = await move(world, session_id, stopped, now=world.now + 3 * LATER)
    assert row.ended_at == world.now + 2 * LATER


async def test_a_recovery_clears_the_end_and_leaves_a_trace(world: Any) -> None:
    session_id = await world.session()
    row = await move(world, session_id, Change(status=Status.LOST, reason="host_offline"))
    assert (row.ended_at, row.lost_at, row.lost_reason) == (world.now, world.now, "host_offline")
    row = await move(world, session_id, Change(status=Status.RUNNING), now=world.now + LATER)
    assert (row.ended_at, row.recovered_at, row.lost_reason) == (None, world.now + LATER, "host_offline")
    assert (await events(world))[-1].previous_status == "lost"


async def test_what_is_not_known_does_not_erase_what_is(world: Any) -> None:
    session_id = await world.session()
    boot = uuid4()
    full = Change(
        status=Status.RUNNING, container_id="c1", image_digest="sha256:1", host_boot_id=boot, seq=4, exit_code=3
    )
    row = await move(world, session_id, full, Change(status=Status.STOPPED))
    assert (row.container_id, row.image_digest, row.exit_code) == ("c1", "sha256:1", 3)
    assert (row.host_boot_id, row.last_seq) == (boot, 4)


async def test_a_phase_stays_while_its_state_does_and_goes_with_it(world: Any) -> None:
    session_id = await world.session()
    pulling = Change(status=Status.STARTING, phase="pull", progress_percent=40)
    row = await move(world, session_id, pulling)
    assert (row.phase, row.progress_percent) == ("pull", 40)
    row = await move(world, session_id, Change(status=Status.RUNNING))
    assert (row.phase, row.progress_percent) == (None, 0)
    transitions.touch(row, Change(status=Status.RUNNING, phase="ready"), now=world.now)
    assert row.phase == "ready"
    transitions.touch(row, Change(status=Status.RUNNING), now=world.now)
    assert row.phase == "ready"
    row = await move(world, session_id, Change(status=Status.RUNNING, phase="ready"), Change(status=Status.STOPPING))
    assert row.phase is None


async def test_texts_are_cut_to_what_the_columns_hold(world: Any) -> None:
    change = Change(status=Status.CRASHED, reason="r" * 500, message="m\x00" * 5000, container_id="c" * 500)
    row = await move(world, await world.session(), change)
    assert (len(row.status_reason), len(row.status_message), len(row.container_id)) == (100, 2000, 100)


async def test_a_superseded_session_makes_room_for_the_next_in_one_transaction(world: Any) -> None:
    session_id = await world.session()
    async with world.uow() as tx:
        row = await tx.sessions.lock(session_id)
        await transitions.apply(tx, row, Change(status=Status.STOPPED, reason="superseded"), now=world.now)
        following = await tx.sessions.add(sgc_id=row.sgc_id, now=world.now)
        await tx.commit()
    assert following.status == "pending"


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        (timedelta(seconds=20), timedelta(seconds=20)),
        (timedelta(days=-1), timedelta(0)),
        (timedelta(days=2_000_000), LATER),
        (timedelta(days=-700_000), timedelta(0)),
    ],
)
async def test_a_host_with_a_wrong_clock_ends_no_session_before_it_began_nor_in_the_future(
    world: Any, said: timedelta, stored: timedelta
) -> None:
    session_id = await world.session()
    moment = world.now + said
    row = await move(world, session_id, Change(status=Status.RUNNING, started_at=moment), now=world.now + LATER)
    assert row.started_at == world.now + stored
    row = await move(world, session_id, Change(status=Status.STOPPED, occurred_at=moment), now=world.now + LATER)
    assert row.ended_at == world.now + stored


async def test_a_session_never_ends_before_it_started(world: Any) -> None:
    session_id = await world.session()
    await move(world, session_id, Change(status=Status.RUNNING), now=world.now + LATER)
    early = Change(status=Status.CRASHED, occurred_at=world.now)
    row = await move(world, session_id, early, now=world.now + 2 * LATER)
    assert row.ended_at == row.started_at == world.now + LATER


async def test_the_last_lines_of_a_crash_are_kept_once_and_of_no_other_end(world: Any) -> None:
    lines = [OutputLine(message="oh\x00 no", timestamp=5, source="stderr", truncated=True)]
    crashed, stopped = await world.session(), await world.session()
    end = {"last_lines": lines, "signal": 9, "oom_killed": True}
    await move(world, stopped, Change(status=Status.STOPPED, **end))
    await move(world, crashed, Change(status=Status.CRASHED, **end))
    row = await move(world, crashed, Change(status=Status.CRASHED, last_lines=[OutputLine(message="again")]))
    assert (row.exit_signal, row.oom_killed) == (9, True)
    async with world.uow() as tx:
        assert (await tx.sessions.get(stopped)).exit_signal == 9
        assert await tx.sessions.crash_lines(stopped) == []
        assert await tx.sessions.crash_lines(crashed) == [
            {"timestamp": 5, "source": "stderr", "message": "oh no", "truncated": True}
        ]
