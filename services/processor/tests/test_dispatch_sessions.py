from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from manman.domain.sessions import Status
from manman.errors import Conflict, Invalid, NotFound
from manman.messages.status import OutputLine, SessionReported

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def said(session_id: int, status: str, **more: Any) -> SessionReported:
    return SessionReported(session_id=session_id, status=status, **more)


async def report(desk: Any, *reports: SessionReported) -> list[Exception | None]:
    return await desk.take(*((f"status.session.{item.session_id}", item) for item in reports))


async def test_a_report_changes_the_row_and_puts_one_event_into_the_outbox(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    assert await report(desk, said(session_id, "running", container_id="abc")) == [None]
    row = database.session(session_id)
    assert (row["status"], row["started_at"], row["container_id"]) == ("running", NOW, "abc")
    (event,) = database.rows("SELECT routing_key, body, message_id FROM outbox")
    body = msgspec.json.decode(bytes(event["body"]))
    assert event["routing_key"] == "manman.session.running"
    assert isinstance(body, dict)
    assert body["event_id"] == str(event["message_id"])
    assert body["previous_status"] == "starting"
    assert (body["server_id"], body["game_id"]) == (world.server_id, world.game_id)


async def test_several_reports_of_one_session_in_a_batch_are_folded_in_order(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session()
    results = await report(
        desk,
        said(session_id, "starting", phase="image", progress=40),
        said(session_id, "running"),
        said(session_id, "stopping"),
        said(session_id, "stopped", exit_code=0, reason="killed"),
    )
    assert results == [None] * 4
    row = database.session(session_id)
    assert (row["status"], row["exit_code"], row["status_reason"]) == ("stopped", 0, "killed")
    assert database.keys() == ["manman.session.running", "manman.session.stopped"]


async def test_reporting_the_same_state_twice_emits_one_event(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STARTING)
    await report(desk, said(session_id, "running"))
    await report(desk, said(session_id, "running"))
    assert database.keys() == ["manman.session.running"]


async def test_a_clean_end_by_itself_is_stored_as_completed_and_published_as_stopped(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    await report(desk, said(session_id, "stopped", exit_code=0, reason="exited"))
    assert database.session(session_id)["status"] == "completed"
    (event,) = database.rows("SELECT routing_key, body FROM outbox")
    body = msgspec.json.decode(bytes(event["body"]))
    assert event["routing_key"] == "manman.session.stopped"
    assert isinstance(body, dict)
    assert (body["status"], body["final_status"]) == ("stopped", "completed")


@pytest.mark.parametrize("status", ["pending", "lost", "completed", "exploded", ""])
async def test_a_status_that_no_host_may_report_is_refused_and_changes_nothing(
    desk: Any, world: Any, database: Any, status: str
) -> None:
    session_id = await world.session(Status.RUNNING)
    before = database.session(session_id)
    (error,) = await report(desk, said(session_id, status))
    assert isinstance(error, Conflict)
    assert database.session(session_id) == before
    assert database.keys() == []


async def test_one_bad_message_is_refused_alone(desk: Any, world: Any, database: Any) -> None:
    first, second = await world.session(Status.STARTING), await world.session(Status.STARTING)
    results = await desk.take(
        (f"status.session.{first}", said(first, "running")),
        ("status.session.1", b'{"session_id": 1, "sta'),
        ("status.session.999", said(999, "running")),
        ("status.planet.1", b"{}"),
        (f"status.session.{second}", said(second, "running")),
    )
    assert [type(result) for result in results] == [type(None), Invalid, NotFound, Invalid, type(None)]
    assert {database.session(first)["status"], database.session(second)["status"]} == {"running"}


async def test_what_the_database_refuses_is_refused_alone(desk: Any, world: Any, database: Any) -> None:
    first, second = await world.session(Status.RUNNING), await world.session(Status.STARTING)
    results = await report(desk, said(first, "crashed", exit_code=2**40), said(second, "running", message="a\x00b"))
    assert [type(result) for result in results] == [Invalid, type(None)]
    assert database.session(first)["status"] == "running"
    assert database.session(second)["status_message"] == "ab"


async def test_a_late_report_changes_nothing(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.RUNNING)
    boot = uuid4()
    await report(desk, said(session_id, "stopping", host_boot_id=boot, seq=7))
    await report(desk, said(session_id, "running", reason="stop_failed", host_boot_id=boot, seq=6))
    assert database.session(session_id)["status"] == "stopping"


async def test_the_end_is_enriched_and_never_rewritten(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.STOPPED)
    desk.wait(60)
    await report(desk, said(session_id, "crashed", exit_code=137, reason="oom"))
    row = database.session(session_id)
    assert (row["status"], row["ended_at"], row["exit_code"], row["status_reason"]) == ("stopped", NOW, 137, "oom")
    assert database.keys() == []


async def test_a_lost_session_that_is_reported_again_is_recovered(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.LOST)
    await report(desk, said(session_id, "running"))
    row = database.session(session_id)
    assert (row["status"], row["ended_at"], row["recovered_at"]) == ("running", None, NOW)
    assert database.keys() == ["manman.session.running"]


async def test_a_lost_session_whose_place_is_taken_is_stopped_by_force_once(
    desk: Any, world: Any, database: Any
) -> None:
    lost = await world.session(Status.LOST)
    sgc_id = (await world.row(lost)).sgc_id
    await world.session(Status.RUNNING, sgc_id=sgc_id)
    desk.wait(60)
    await report(desk, said(lost, "running"))
    desk.wait(60)
    await report(desk, said(lost, "running"))
    assert database.session(lost)["status"] == "lost"
    assert database.keys() == [f"command.host.{world.server_id}.session.stop"]
    desk.wait(300)
    await report(desk, said(lost, "running"))
    assert len(database.keys()) == 2


async def test_a_zombie_is_not_resurrected(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session(Status.CRASHED)
    desk.wait(11)
    await report(desk, said(session_id, "running"))
    assert database.session(session_id)["status"] == "crashed"
    assert database.keys() == [f"command.host.{world.server_id}.session.stop"]


async def test_phase_and_progress_are_kept_while_starting_and_cleared_after(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session()
    await report(desk, said(session_id, "starting", phase="accepted"))
    await report(desk, said(session_id, "starting", phase="image", progress=150, message="layer 3 of 4"))
    row = database.session(session_id)
    assert (row["phase"], row["progress_percent"], row["status_message"]) == ("image", 100, "layer 3 of 4")
    await report(desk, said(session_id, "running"))
    row = database.session(session_id)
    assert (row["phase"], row["progress_percent"]) == (None, 0)


async def test_the_same_batch_again_gives_no_second_event(desk: Any, world: Any, database: Any) -> None:
    session_id = await world.session()
    batch = [said(session_id, "starting"), said(session_id, "running"), said(session_id, "crashed", exit_code=1)]
    await report(desk, *batch)
    await report(desk, *batch)
    assert database.keys() == ["manman.session.running", "manman.session.crashed"]


async def test_a_report_that_comes_after_a_crash_was_inferred_brings_its_last_lines(
    desk: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.CRASHED)
    lines = [OutputLine(message="x" * 40_000, source="stdout"), OutputLine(message="short")]
    assert await report(desk, said(session_id, "crashed", signal=11, last_lines=lines)) == [None]
    assert database.session(session_id)["exit_signal"] == 11
    (row,) = database.rows("SELECT lines FROM session_crash_records WHERE session_id = %s", session_id)
    kept = [(line["message"], line["truncated"]) for line in row["lines"]]
    assert kept == [("x" * (32 * 1024 - 5), True), ("short", False)]
