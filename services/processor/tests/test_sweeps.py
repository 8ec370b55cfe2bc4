import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manman.background import running
from manman.domain.sessions import Status
from manman.identifiers import new_id
from manman.messages.external import HostEvent
from manman.messages.health import Heartbeat
from manman.messages.status import HostReported
from manman_devstack.eventually import eventually
from manman_processor.app import sweeps
from manman_processor.hearing import Hearing
from manman_processor.settings import Settings
from manman_processor.sweeps import lost_sessions, overdue_sessions, settled_messages, stale_hosts
from manman_processor.sweeps.overdue_sessions import Limits, limits

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def after(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def span(count: float) -> timedelta:
    return timedelta(seconds=count)


async def test_a_host_is_stale_after_the_threshold_and_not_before(uow: Any, world: Any, database: Any) -> None:
    assert await stale_hosts.sweep(uow, after(10), span(10)) == 0
    assert database.server(world.server_id)["status"] == "online"
    assert await stale_hosts.sweep(uow, after(10.5), span(10)) == 1
    row = database.server(world.server_id)
    assert (row["status"], row["status_since"]) == ("offline", after(10.5))
    assert database.keys() == ["manman.host.stale"]


async def test_a_stale_host_is_announced_once_by_however_many_sweeps(uow: Any, world: Any, database: Any) -> None:
    counts = await asyncio.gather(*(stale_hosts.sweep(uow, after(60), span(10)) for _ in range(4)))
    assert sorted(counts) == [0, 0, 0, 1]
    assert database.server(world.server_id)["status"] == "offline"
    assert database.keys() == ["manman.host.stale"]


async def test_a_stale_host_keeps_its_sessions(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    await stale_hosts.sweep(uow, after(60), span(10))
    assert database.session(session_id)["status"] == "running"


async def test_a_stale_host_that_is_heard_again_is_back_at_once(uow: Any, world: Any, desk: Any, database: Any) -> None:
    await stale_hosts.sweep(uow, after(60), span(10))
    desk.wait(61)
    await desk.take(("health.host.1", Heartbeat(server_id=world.server_id)))
    assert database.server(world.server_id)["status"] == "online"
    assert database.keys() == ["manman.host.stale", "manman.host.online"]


async def test_sessions_are_lost_when_their_host_is_gone_for_too_long(uow: Any, world: Any, database: Any) -> None:
    live = [await world.session(status) for status in (Status.PENDING, Status.RUNNING, Status.STOPPING)]
    ended = await world.session(Status.STOPPED)
    await world.host("offline", offline_since=NOW)
    assert await lost_sessions.sweep(uow, after(300), span(300)) == 0
    assert await lost_sessions.sweep(uow, after(301), span(300)) == 3
    assert await lost_sessions.sweep(uow, after(302), span(300)) == 0
    assert {database.session(session_id)["status"] for session_id in live} == {"lost"}
    assert database.session(live[0])["lost_reason"] == "host_offline"
    assert database.session(ended)["status"] == "stopped"
    assert database.keys() == ["manman.session.lost"] * 3


async def test_sessions_of_an_online_host_are_not_lost_with_it(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    assert await lost_sessions.sweep(uow, after(10_000), span(300)) == 0
    assert database.session(session_id)["status"] == "running"


async def test_sessions_are_not_lost_while_their_host_is_just_coming_back(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    await world.host("offline", offline_since=NOW)
    async with uow() as tx:
        row = await tx.servers.lock(world.server_id)
        assert await lost_sessions.sweep(uow, after(301), span(300)) == 0
        row.status = "online"
        await tx.commit()
    assert await lost_sessions.sweep(uow, after(302), span(300)) == 0
    assert database.session(session_id)["status"] == "running"


async def test_a_start_that_nobody_took_is_lost_after_its_deadline(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.PENDING, deadline_at=after(150))
    assert await overdue_sessions.sweep(uow, after(121), Limits()) == 0
    assert await overdue_sessions.sweep(uow, after(151), Limits()) == 1
    row = database.session(session_id)
    assert (row["status"], row["lost_reason"]) == ("lost", "start_not_acknowledged")
    assert database.keys() == ["manman.session.lost", f"command.host.{world.server_id}.session.stop"]


async def test_a_start_waits_for_a_host_that_went_offline_before_it_answered(
    uow: Any, world: Any, desk: Any, database: Any
) -> None:
    session_id = await world.session(Status.PENDING, deadline_at=after(30))
    await world.host("offline", offline_since=NOW)
    assert await overdue_sessions.sweep(uow, after(250), Limits()) == 0
    desk.wait(260)
    await desk.take(("status.host.1", HostReported(server_id=world.server_id, status="online")))
    assert await overdue_sessions.sweep(uow, after(380), Limits()) == 0
    assert database.session(session_id)["status"] == "pending"
    assert await overdue_sessions.sweep(uow, after(381), Limits()) == 1
    assert database.session(session_id)["lost_reason"] == "start_not_acknowledged"


@pytest.mark.parametrize(("features", "limit_s"), [([], 900), (["starting_heartbeat"], 60)])
async def test_a_start_without_news_is_lost(
    uow: Any, world: Any, database: Any, features: list[str], limit_s: int
) -> None:
    async with uow() as tx:
        (await tx.servers.lock(world.server_id)).features = features
        await tx.commit()
    session_id = await world.session(Status.STARTING)
    assert await overdue_sessions.sweep(uow, after(limit_s), Limits()) == 0
    assert await overdue_sessions.sweep(uow, after(limit_s + 1), Limits()) == 1
    assert database.session(session_id)["lost_reason"] == "start_stalled"


@pytest.mark.parametrize(("status", "limit_s"), [(Status.STARTING, 900), (Status.STOPPING, 180)])
async def test_the_silence_of_a_host_that_was_away_does_not_count_against_its_sessions(
    uow: Any, world: Any, desk: Any, database: Any, *, status: Status, limit_s: int
) -> None:
    session_id = await world.session(status)
    await world.host("offline", offline_since=NOW)
    desk.wait(2000)
    await desk.take(("status.host.1", HostReported(server_id=world.server_id, status="online")))
    assert await overdue_sessions.sweep(uow, after(2000 + limit_s), Limits()) == 0
    assert database.session(session_id)["status"] == status
    assert await overdue_sessions.sweep(uow, after(2001 + limit_s), Limits()) == 1


async def test_a_stop_without_news_is_forced_and_then_lost(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STOPPING)
    assert await overdue_sessions.sweep(uow, after(181), Limits()) == 1
    assert database.session(session_id)["status"] == "stopping"
    assert await overdue_sessions.sweep(uow, after(300), Limits()) == 0
    assert await overdue_sessions.sweep(uow, after(302), Limits()) == 1
    assert database.session(session_id)["lost_reason"] == "stop_stalled"
    assert database.keys() == [f"command.host.{world.server_id}.session.stop", "manman.session.lost"]


async def test_a_stop_that_may_take_long_is_not_forced_before(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STOPPING)
    async with uow() as tx:
        origin = await tx.deployments.origin(database.session(session_id)["sgc_id"])
        (await tx.configs.lock(origin.game_config_id)).stop_timeout_seconds = 600
        await tx.commit()
    assert await overdue_sessions.sweep(uow, after(780), Limits()) == 0
    assert await overdue_sessions.sweep(uow, after(781), Limits()) == 1
    assert database.session(session_id)["status"] == "stopping"
    assert database.keys() == [f"command.host.{world.server_id}.session.stop"]


async def test_a_stop_by_force_from_an_earlier_attempt_does_not_count(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STOPPING, forced_stop_at=NOW - span(3600))
    assert await overdue_sessions.sweep(uow, after(181), Limits()) == 1
    assert database.session(session_id)["status"] == "stopping"
    assert database.keys() == [f"command.host.{world.server_id}.session.stop"]
    assert await overdue_sessions.sweep(uow, after(302), Limits()) == 1
    assert database.session(session_id)["lost_reason"] == "stop_stalled"


async def test_a_running_session_is_never_overdue(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    assert await overdue_sessions.sweep(uow, after(1_000_000), Limits()) == 0
    assert database.session(session_id)["status"] == "running"


async def test_one_threshold_replaces_the_limits_of_every_state(uow: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.PENDING)
    assert await overdue_sessions.sweep(uow, after(0.6), limits(0.5)) == 1
    assert database.session(session_id)["status"] == "lost"


async def test_published_messages_are_removed_after_a_while_and_waiting_ones_never(
    uow: Any, world: Any, desk: Any, database: Any
) -> None:
    await world.host("offline")
    await desk.take(("health.host.1", Heartbeat(server_id=world.server_id)))
    assert await settled_messages.sweep(uow, after(10_000), span(60), 10**6) == 0
    async with uow() as tx:
        rows = await tx.outbox.unpublished(limit=10)
    await uow.waiting.mark([row.id for row in rows], now=NOW)
    assert await settled_messages.sweep(uow, after(60), span(60), 10**6) == 0
    assert await settled_messages.sweep(uow, after(61), span(60), 10**6) == 1
    assert database.keys() == []


async def test_one_run_removes_all_old_messages_however_many(uow: Any, database: Any) -> None:
    async with uow() as tx:
        for _ in range(12_000):
            tx.outbox.add_external(
                routing_key="manman.host.online", body=HostEvent(server_id=1, status="online"), message_id=new_id()
            )
        await tx.commit()
    async with uow() as tx:
        rows = await tx.outbox.unpublished(limit=20_000)
    await uow.waiting.mark([row.id for row in rows], now=NOW)
    assert await settled_messages.sweep(uow, after(61), span(60), 10**6) == 12_000
    assert database.keys() == []


def test_nobody_who_does_not_listen_can_say_who_is_silent() -> None:
    hearing = Hearing()
    later = datetime.max.replace(tzinfo=UTC)
    assert not hearing.has_lasted(span(0), later)
    one, other = hearing.ear("one"), hearing.ear("other")
    one.up()
    assert not hearing.has_lasted(span(0), later)
    other.up()
    assert hearing.since is not None
    assert not hearing.has_lasted(span(10), hearing.since + span(9))
    assert hearing.has_lasted(span(10), hearing.since + span(10))
    one.down("the broker is away")
    other.up()
    assert not hearing.has_lasted(span(10), later)


async def test_hosts_get_time_to_come_back_to_a_broker_that_was_away(
    uow: Any, world: Any, broker: Any, database: Any, settings: Settings
) -> None:
    threshold = span(0.4)
    quick = {"stale_host_threshold_seconds": threshold.total_seconds(), "stale_host_check_interval_seconds": 0.05}
    hearing = Hearing()
    stale, *others = sweeps(settings.model_copy(update=quick), uow, broker, hearing)
    for other in others:
        other.close()
    await world.host("online", last_seen=NOW)
    hearing.ear("reports").up()
    async with running(stale, "stale"):
        row = await eventually(lambda: (row := database.server(world.server_id))["status"] == "offline" and row)
    assert hearing.since is not None
    assert row["status_since"] - hearing.since >= 2 * threshold
