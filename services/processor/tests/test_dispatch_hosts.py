from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from prometheus_client import REGISTRY

from manman.domain.sessions import Status
from manman.errors import Invalid, NotFound
from manman.messages.health import MAX_INVENTORY, Capabilities, Heartbeat, SessionInventoryItem, SessionStats
from manman.messages.status import HostReported, SessionReported

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def beat(desk: Any, server_id: int, **more: Any) -> Exception | None:
    (result,) = await desk.take((f"health.host.{server_id}", Heartbeat(server_id=server_id, **more)))
    return result


def runs(session_id: int, status: str = "running", phase: str = "") -> SessionInventoryItem:
    return SessionInventoryItem(session_id=session_id, status=status, container_id="c", phase=phase)


async def test_a_heartbeat_moves_last_seen_by_our_clock_and_says_nothing(desk: Any, world: Any, database: Any) -> None:
    desk.wait(3)
    assert await beat(desk, world.server_id) is None
    assert database.server(world.server_id)["last_seen"] == NOW + timedelta(seconds=3)
    assert database.keys() == []


async def test_a_heartbeat_of_an_offline_host_brings_it_online_and_says_so_once(
    desk: Any, world: Any, database: Any
) -> None:
    await world.host("offline", last_seen=NOW - timedelta(hours=1), offline_since=NOW - timedelta(hours=1))
    await beat(desk, world.server_id)
    await beat(desk, world.server_id)
    row = database.server(world.server_id)
    assert (row["status"], row["status_since"]) == ("online", NOW)
    assert database.keys() == ["manman.host.online"]


async def test_a_host_that_says_good_bye_is_offline(desk: Any, world: Any, database: Any) -> None:
    for _ in range(2):
        await desk.take(("status.host.1", HostReported(server_id=world.server_id, status="offline")))
    assert database.server(world.server_id)["status"] == "offline"
    (event,) = database.rows("SELECT routing_key, body FROM outbox")
    body = msgspec.json.decode(bytes(event["body"]))
    assert event["routing_key"] == "manman.host.offline"
    assert (body["server_id"], body["status"]) == (world.server_id, "offline")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (HostReported(server_id=77, status="online"), NotFound),
        (HostReported(server_id=1, status="asleep"), Invalid),
        (b'{"server_id": "one", "status": "online"}', Invalid),
        (b"\xff\xfe", Invalid),
    ],
)
async def test_a_wrong_host_report_is_refused(desk: Any, world: Any, database: Any, body: Any, error: type) -> None:
    (result,) = await desk.take((f"status.host.{world.server_id}", body))
    assert isinstance(result, error)
    assert database.keys() == []


async def test_a_heartbeat_of_an_unknown_host_is_refused(desk: Any) -> None:
    assert isinstance(await beat(desk, 77), NotFound)


async def test_what_a_host_offers_is_stored(desk: Any, world: Any, database: Any) -> None:
    offer = Capabilities(total_memory_mb=4096, available_memory_mb=1024, cpu_cores=4, docker_version="27.1")
    await beat(
        desk, world.server_id, capabilities=offer, features=["wrapper"], public_address="10.0.0.1", draining=True
    )
    (row,) = database.rows("SELECT * FROM server_capabilities")
    assert (row["total_memory_mb"], row["docker_version"]) == (4096, "27.1")
    server = database.server(world.server_id)
    assert (server["features"], server["announced_address"], server["host_draining"]) == (["wrapper"], "10.0.0.1", True)


async def test_what_an_operator_wants_of_a_host_outlasts_what_the_host_says(
    desk: Any, world: Any, database: Any, uow: Any
) -> None:
    async with uow() as tx:
        row = await tx.servers.lock(world.server_id)
        row.draining, row.public_address = True, "play.example.org"
        await tx.commit()
    await beat(desk, world.server_id, public_address="10.0.0.1")
    server = database.server(world.server_id)
    assert (server["draining"], server["host_draining"]) == (True, False)
    assert (server["public_address"], server["announced_address"]) == ("play.example.org", "10.0.0.1")


async def test_an_offer_that_the_database_refuses_is_refused_alone(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STARTING)
    results = await desk.take(
        (f"status.session.{session_id}", SessionReported(session_id=session_id, status="running")),
        ("health.host.1", Heartbeat(server_id=world.server_id, capabilities=Capabilities(cpu_cores=2**40))),
        (f"status.session.{session_id}", SessionReported(session_id=session_id, status="stopping")),
    )
    assert [type(result) for result in results] == [type(None), Invalid, type(None)]
    assert database.session(session_id)["status"] == "stopping"


async def test_a_full_inventory_may_be_cut_off_and_calls_nobody_missing(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    desk.wait(600)
    await beat(desk, world.server_id, sessions=[runs(1000 + index) for index in range(MAX_INVENTORY)])
    assert database.session(session_id)["status"] == "running"


async def test_of_many_heartbeats_in_a_batch_one_is_worked_on(desk: Any, world: Any, database: Any) -> None:
    offer = Capabilities(cpu_cores=1)
    beats = [("health.host.1", Heartbeat(server_id=world.server_id, capabilities=offer)) for _ in range(50)]
    assert await desk.take(*beats) == [None] * 50
    assert len(database.rows("SELECT 1 FROM server_capabilities")) == 1


async def test_what_a_host_offers_is_stored_though_a_later_heartbeat_of_the_batch_is_silent_about_it(
    desk: Any, world: Any, database: Any
) -> None:
    offer = Heartbeat(server_id=world.server_id, capabilities=Capabilities(cpu_cores=3))
    assert await desk.take(("health.host.1", offer), ("health.host.1", Heartbeat(server_id=world.server_id))) == [
        None,
        None,
    ]
    assert database.rows("SELECT cpu_cores FROM server_capabilities") == [{"cpu_cores": 3}]


async def test_an_inventory_that_agrees_changes_nothing(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    before = database.session(session_id)
    desk.wait(600)
    await beat(desk, world.server_id, sessions=[runs(session_id)])
    assert database.session(session_id) == before


async def test_a_lost_event_is_made_up_for_by_the_inventory(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STARTING)
    await beat(desk, world.server_id, sessions=[runs(session_id, phase="ready")])
    row = database.session(session_id)
    assert (row["status"], row["container_id"], row["status_reason"]) == ("running", "c", "reconciled")
    assert row["phase"] == "ready"
    assert database.keys() == ["manman.session.running"]


async def test_a_session_that_its_host_no_longer_has_is_crashed_after_the_grace(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    desk.wait(59)
    await beat(desk, world.server_id, sessions=[])
    assert database.session(session_id)["status"] == "running"
    desk.wait(2)
    await beat(desk, world.server_id, sessions=[])
    row = database.session(session_id)
    assert (row["status"], row["status_reason"]) == ("crashed", "not_found_after_recovery")
    assert database.keys() == ["manman.session.crashed"]


async def test_a_stopping_session_that_its_host_no_longer_has_is_stopped(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STOPPING)
    desk.wait(61)
    await beat(desk, world.server_id, sessions=[])
    assert database.session(session_id)["status"] == "stopped"


async def test_a_zombie_in_the_inventory_is_stopped_by_force(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.CRASHED)
    desk.wait(11)
    for _ in range(3):
        await beat(desk, world.server_id, sessions=[runs(session_id)])
    (command,) = database.rows("SELECT routing_key, body, mandatory FROM outbox")
    assert command["routing_key"] == f"command.host.{world.server_id}.session.stop"
    assert command["mandatory"]
    assert msgspec.json.decode(bytes(command["body"]))["force"] is True


async def test_an_inventory_never_touches_the_sessions_of_another_host(
    desk: Any, world: Any, uow: Any, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    async with uow() as tx:
        other = await tx.servers.add(name="other", status="online")
        await tx.commit()
    desk.wait(600)
    await beat(desk, other.server_id, sessions=[runs(session_id)])
    assert database.session(session_id)["status"] == "starting"


async def test_a_report_after_the_heartbeat_in_one_batch_is_not_undone_by_it(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    heartbeat = Heartbeat(server_id=world.server_id, sessions=[runs(session_id)])
    stopped = SessionReported(session_id=session_id, status="stopped", exit_code=0, reason="killed")
    await desk.take(("health.host.1", heartbeat), (f"status.session.{session_id}", stopped))
    assert database.session(session_id)["status"] == "stopped"
    assert database.keys() == ["manman.session.running", "manman.session.stopped"]


async def test_lost_sessions_of_a_host_without_inventory_come_back_when_it_runs_enough(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.LOST, lost_reason="host_offline")
    await world.host("offline")
    await beat(desk, world.server_id, session_stats=SessionStats(running=1))
    assert database.session(session_id)["status"] == "running"
    assert database.keys() == ["manman.host.online", "manman.session.running"]


async def test_lost_sessions_come_back_though_their_host_said_that_it_is_online_before_it_said_how_many_run(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.LOST, lost_reason="host_offline")
    await world.host("offline")
    await desk.take(("status.host.1", HostReported(server_id=world.server_id, status="online")))
    desk.wait(5)
    assert await beat(desk, world.server_id, session_stats=SessionStats(total=1, running=1)) is None
    assert database.session(session_id)["status"] == "running"


async def test_lost_sessions_come_back_when_their_host_leaves_and_returns_within_one_batch(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.LOST, lost_reason="host_offline")
    await world.host("online", offline_since=NOW)
    desk.wait(60)
    await desk.take(
        ("status.host.1", HostReported(server_id=world.server_id, status="offline")),
        ("health.host.1", Heartbeat(server_id=world.server_id, session_stats=SessionStats(total=1, running=1))),
    )
    assert database.session(session_id)["status"] == "running"


async def test_how_many_run_says_nothing_about_lost_sessions_once_a_host_is_back_for_a_while(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.LOST, lost_reason="host_offline")
    await world.host("online", offline_since=NOW)
    desk.wait(60)
    await beat(desk, world.server_id, session_stats=SessionStats(total=1, running=1))
    assert database.session(session_id)["status"] == "lost"


async def test_lost_sessions_come_back_with_an_inventory(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.LOST)
    await beat(desk, world.server_id, sessions=[runs(session_id)], host_boot_id=uuid4())
    row = database.session(session_id)
    assert (row["status"], row["ended_at"], row["recovered_at"]) == ("running", None, NOW)


async def test_of_two_lost_sessions_of_one_deployment_one_comes_back_and_the_other_is_stopped(
    desk: Any, world: Any, database: Any
) -> None:
    sgc_id = await world.deploy()
    first = await world.session(Status.LOST, sgc_id=sgc_id)
    second = await world.session(Status.LOST, sgc_id=sgc_id)
    await world.host("offline")
    desk.wait(61)
    assert await beat(desk, world.server_id, sessions=[runs(first), runs(second)]) is None
    assert database.server(world.server_id)["status"] == "online"
    assert {database.session(first)["status"], database.session(second)["status"]} == {"running", "lost"}
    assert database.keys() == [
        "manman.host.online",
        "manman.session.running",
        f"command.host.{world.server_id}.session.stop",
    ]


async def test_two_lost_sessions_of_one_deployment_do_not_both_come_back_without_an_inventory(
    desk: Any, world: Any, database: Any
) -> None:
    sgc_id = await world.deploy()
    both = [await world.session(Status.LOST, sgc_id=sgc_id, lost_reason="host_offline") for _ in range(2)]
    await world.host("offline")
    assert await beat(desk, world.server_id, session_stats=SessionStats(running=2)) is None
    assert sorted(str(database.session(session_id)["status"]) for session_id in both) == ["lost", "running"]


async def test_a_refused_report_is_counted_once_however_often_its_batch_is_tried(
    desk: Any, world: Any, database: Any
) -> None:
    before = REGISTRY.get_sample_value("manman_reports_refused_total", {"reason": "Invalid"}) or 0
    results = await desk.take(
        ("health.host.1", b"{"),
        ("health.host.1", Heartbeat(server_id=world.server_id, capabilities=Capabilities(cpu_cores=2**40))),
    )
    assert [type(result) for result in results] == [Invalid, Invalid]
    assert REGISTRY.get_sample_value("manman_reports_refused_total", {"reason": "Invalid"}) == before + 2
    assert database.keys() == []
