"""A host reports, the database follows: the flow from status.session.* and health.* to the rows."""

from manman.messages.health import SessionInventoryItem
from manman_devstack.eventually import eventually
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database


async def test_a_session_goes_through_its_life_as_its_host_reports_it(
    host: ScriptedHost, pending: int, database: Database
) -> None:
    assert (await database.session(pending))["status"] == "pending"
    await host.report(pending, "starting", phase="pulling", progress=40)
    row = await eventually(lambda: database.status_is(pending, "starting"))
    assert (row["phase"], row["progress_percent"], row["started_at"]) == ("pulling", 40, None)

    await host.report(pending, "running", container_id="abc")
    row = await eventually(lambda: database.status_is(pending, "running"))
    assert row["started_at"] is not None
    assert row["container_id"] == "abc"

    await host.report(pending, "stopping")
    await host.report(pending, "stopped", exit_code=0, reason="killed")
    row = await eventually(lambda: database.status_is(pending, "stopped"))
    assert row["exit_code"] == 0
    assert row["ended_at"] >= row["started_at"]


async def test_a_crash_is_recorded_with_its_exit_code_and_reason(
    host: ScriptedHost, pending: int, database: Database
) -> None:
    await host.report(pending, "starting")
    await host.report(pending, "running")
    await host.report(pending, "crashed", exit_code=137, reason="signal", message="killed by signal 9")
    row = await eventually(lambda: database.status_is(pending, "crashed"))
    assert (row["exit_code"], row["status_reason"], row["status_message"]) == (137, "signal", "killed by signal 9")


async def test_a_clean_end_of_its_own_is_completed(host: ScriptedHost, pending: int, database: Database) -> None:
    await host.report(pending, "running")
    await host.report(pending, "stopping")
    await host.report(pending, "stopped", exit_code=0, reason="exited", final_status="completed")
    row = await eventually(lambda: database.status_is(pending, "completed"))
    assert row["exit_code"] == 0


async def test_a_report_of_another_implementation_without_our_keys_counts_as_well(
    host: ScriptedHost, pending: int, database: Database
) -> None:
    for status in ("starting", "running"):
        await host.say(
            f"status.session.{pending}", b'{"session_id":%d,"sgc_id":0,"status":"%s"}' % (pending, status.encode())
        )
    await eventually(lambda: database.status_is(pending, "running"))


async def test_an_inventory_tells_what_a_lost_report_did_not(
    host: ScriptedHost, pending: int, database: Database
) -> None:
    await host.report(pending, "starting")
    await eventually(lambda: database.status_is(pending, "starting"))
    await host.beat([SessionInventoryItem(session_id=pending, status="running", container_id="abc")])
    await eventually(lambda: database.status_is(pending, "running"))


async def test_a_host_that_says_good_bye_is_offline_and_back_with_its_next_heartbeat(
    host: ScriptedHost, database: Database
) -> None:
    async def status_is(expected: str) -> bool:
        row = await database.row("SELECT status FROM servers WHERE server_id = %s", host.server_id)
        return row["status"] == expected

    await host.report_self("offline")
    await eventually(lambda: status_is("offline"))
    await host.beat()
    await eventually(lambda: status_is("online"))
