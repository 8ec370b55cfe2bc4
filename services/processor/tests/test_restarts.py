"""What is decided about sessions that ended by themselves; the api acts on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.restarts import Limits
from manman.domain.sessions import Status
from manman.messages.codec import decode
from manman.messages.external import DeploymentEvent
from manman.messages.status import SessionReported
from manman_processor.sweeps import restarts

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIMITS = Limits(max_attempts=2, window=timedelta(seconds=600), backoff=timedelta(seconds=10))


def after(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


async def deploy(world: Any, policy: str = "", *, of_config: str = "", **columns: int) -> int:
    sgc_id = await world.deploy()
    async with world.uow() as tx:
        row = await tx.deployments.lock(sgc_id)
        config = await tx.configs.lock(row.game_config_id)
        row.restart_policy, config.restart_policy = policy, of_config
        for name, value in columns.items():
            setattr(row if policy else config, f"restart_{name}", value)
        await tx.commit()
    return sgc_id


async def ended(world: Any, sgc_id: int, status: Status = Status.CRASHED, *, at: datetime = NOW, **columns: Any) -> int:
    """Insert a session that ended at that time."""
    reason = columns.pop("reason", "exited")
    async with world.uow() as tx:
        row = await tx.sessions.add(sgc_id=sgc_id, now=at, **columns)
        await transitions.apply(tx, row, Change(status=status, reason=reason), now=at)
        await tx.commit()
    await world.forget_outbox()
    return row.session_id


def decided(database: Any) -> list[dict[str, Any]]:
    return database.rows("SELECT * FROM deployment_restarts ORDER BY sgc_id")


@pytest.mark.parametrize(
    ("policy", "of_config", "status", "waits"),
    [
        ("on_crash", "", Status.CRASHED, True),
        ("", "on_crash", Status.CRASHED, True),
        ("", "always", Status.COMPLETED, True),
        ("never", "always", Status.CRASHED, False),
        ("on_crash", "always", Status.COMPLETED, False),
        ("", "", Status.CRASHED, False),
        ("always", "", Status.STOPPED, False),
        ("always", "", Status.LOST, False),
        ("always", "", Status.RUNNING, False),
    ],
)
async def test_a_restart_waits_where_the_policy_in_force_wants_it(
    world: Any, database: Any, policy: str, of_config: str, status: Status, *, waits: bool
) -> None:
    sgc_id = await deploy(world, policy, of_config=of_config)
    session_id = await ended(world, sgc_id, status)
    assert await restarts.sweep(world.uow, after(1), LIMITS) == waits
    rows = [
        (row["sgc_id"], row["session_id"], row["state"], row["due_at"], row["attempt"]) for row in decided(database)
    ]
    assert rows == ([(sgc_id, session_id, "waiting", after(10), 1)] if waits else [])


async def test_the_ends_in_a_batch_of_reports_are_decided_about_one_by_one(
    desk: Any, world: Any, database: Any
) -> None:
    ids = {}
    for reason in ("signal", "hung", "exited"):
        sgc_id = await deploy(world, "on_crash")
        ids[reason] = (sgc_id, await world.session(Status.RUNNING, sgc_id=sgc_id))
    reports = [
        SessionReported(session_id=session_id, status="crashed", exit_code=0, reason=reason)
        for reason, (_, session_id) in ids.items()
    ]
    assert await desk.take(*((f"status.session.{each.session_id}", each) for each in reports)) == [None] * 3
    assert await restarts.sweep(world.uow, after(1), LIMITS) == 2
    assert [(row["sgc_id"], row["session_id"]) for row in decided(database)] == [ids["signal"], ids["hung"]]


async def test_an_end_is_decided_about_once_by_however_many_sweeps(world: Any, database: Any) -> None:
    for _ in range(3):
        await ended(world, await deploy(world, "always"))
    counts = await asyncio.gather(*(restarts.sweep(world.uow, after(1), LIMITS) for _ in range(4)))
    assert sum(counts) == 3
    assert await restarts.sweep(world.uow, after(2), LIMITS) == 0
    assert len(decided(database)) == 3


async def test_an_end_counts_from_when_it_is_heard_of_though_it_happened_long_before(world: Any, database: Any) -> None:
    sgc_id, other = await deploy(world, "on_crash"), await deploy(world, "on_crash")
    await ended(world, other, at=after(-3601))
    async with world.uow() as tx:
        row = await tx.sessions.add(sgc_id=sgc_id, now=after(-90000))
        crash = Change(status=Status.CRASHED, reason="vanished", occurred_at=after(-86400))
        await transitions.apply(tx, row, crash, now=NOW)
        await tx.commit()
    assert await restarts.sweep(world.uow, after(1), LIMITS) == 1
    (found,) = decided(database)
    assert (found["sgc_id"], found["session_id"], found["due_at"]) == (sgc_id, row.session_id, after(1))


@pytest.mark.parametrize(("attempt", "waits"), [(0, False), (1, True)])
async def test_a_restart_that_nobody_took_is_tried_again_and_a_start_by_hand_is_not(
    world: Any, database: Any, attempt: int, *, waits: bool
) -> None:
    sgc_id = await deploy(world, "on_crash")
    await ended(world, sgc_id, reason="host_unreachable", restart_attempt=attempt)
    assert await restarts.sweep(world.uow, after(1), LIMITS) == waits
    assert [row["attempt"] for row in decided(database)] == ([2] if waits else [])


async def test_only_the_newest_session_counts(world: Any, database: Any) -> None:
    sgc_id = await deploy(world, "always")
    await ended(world, sgc_id)
    await world.session(Status.RUNNING, sgc_id=sgc_id)
    assert await restarts.sweep(world.uow, after(1), LIMITS) == 0
    assert decided(database) == []


async def test_a_session_that_somebody_wanted_to_stop_is_left(world: Any, database: Any) -> None:
    await ended(world, await deploy(world, "always"), stop_requested_at=NOW)
    assert await restarts.sweep(world.uow, after(1), LIMITS) == 0
    assert decided(database) == []


async def test_the_deployments_numbers_win_over_the_platforms(world: Any, database: Any) -> None:
    await ended(world, await deploy(world, "always", backoff_seconds=60, window_seconds=90, max_attempts=9))
    await restarts.sweep(world.uow, after(1), LIMITS)
    (row,) = decided(database)
    assert (row["due_at"], row["window_seconds"], row["max_attempts"]) == (after(60), 90, 9)


async def test_so_many_restarts_within_the_window_are_a_crash_loop_that_is_announced_once(
    world: Any, database: Any
) -> None:
    sgc_id = await deploy(world, "on_crash")
    first = await ended(world, sgc_id, at=after(-100))
    second = await ended(world, sgc_id, at=after(-80), restart_of_session_id=first, restart_attempt=1)
    third = await ended(world, sgc_id, at=after(-40), restart_of_session_id=second, restart_attempt=2)
    assert await restarts.sweep(world.uow, NOW, LIMITS) == 1
    assert await restarts.sweep(world.uow, after(1), LIMITS) == 0
    (row,) = decided(database)
    assert (row["state"], row["session_id"], row["due_at"]) == ("crash_loop", third, None)
    assert row["reason"] == "crash loop: 2 restarts within 600 s"
    (message,) = database.rows("SELECT * FROM outbox")
    assert message["routing_key"] == "manman.deployment.crash_loop"
    event = decode(DeploymentEvent, message["body"])
    assert (event.sgc_id, event.session_id, event.server_id) == (sgc_id, third, world.server_id)
    assert (event.reason, event.sequence) == (row["reason"], 4)  # it ended three times before


async def test_restarts_before_somebody_started_it_do_not_count(world: Any, database: Any) -> None:
    sgc_id = await deploy(world, "on_crash")
    first = await ended(world, sgc_id, at=after(-100))
    await ended(world, sgc_id, at=after(-80), restart_of_session_id=first, restart_attempt=1)
    await ended(world, sgc_id, at=after(-40), restart_of_session_id=first, restart_attempt=2)
    by_hand = await ended(world, sgc_id, at=after(-5))
    await restarts.sweep(world.uow, NOW, LIMITS)
    (row,) = decided(database)
    assert (row["state"], row["session_id"], row["attempt"], row["due_at"]) == ("waiting", by_hand, 1, after(5))


async def test_a_deployment_takes_what_was_decided_about_it_along(world: Any, database: Any) -> None:
    sgc_id = await deploy(world, "on_crash")
    await ended(world, sgc_id)
    await restarts.sweep(world.uow, after(1), LIMITS)
    async with world.uow() as tx:
        await tx.deployments.delete(sgc_id)
        await tx.commit()
    assert decided(database) == []
