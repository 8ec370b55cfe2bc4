"""Every real change reaches a subscriber bound to manman.#, once, in order, whatever comes twice or late."""

from manman_devstack.eventually import eventually
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Subscriber


async def test_a_life_of_a_session_is_told_in_order(
    host: ScriptedHost, pending: int, subscriber: Subscriber, database: Database
) -> None:
    for status in ("starting", "running", "stopping"):
        await host.report(pending, status)
    await host.report(pending, "stopped", exit_code=0)
    await eventually(lambda: subscriber.expect("manman.session.running", "manman.session.stopped", session_id=pending))
    (_, running), (_, stopped) = await subscriber.events(session_id=pending)
    row = await database.session(pending)
    assert running["status"] == "running"
    assert running["server_id"] == host.server_id
    assert running["sgc_id"] == row["sgc_id"]
    assert running["previous_status"] == "starting"
    assert (stopped["status"], stopped["exit_code"]) == ("stopped", 0)
    assert running["event_id"] != stopped["event_id"]


async def test_a_report_that_comes_twice_is_one_event(host: ScriptedHost, pending: int, subscriber: Subscriber) -> None:
    body = b'{"session_id":%d,"status":"running"}' % pending
    for _ in range(5):
        await host.say(f"status.session.{pending}", body, "the-same")
    await host.report(pending, "crashed", exit_code=1)
    await eventually(lambda: subscriber.expect("manman.session.running", "manman.session.crashed", session_id=pending))


async def test_each_event_has_a_message_id_of_its_own(host: ScriptedHost, pending: int, subscriber: Subscriber) -> None:
    await host.report(pending, "running")
    await host.report(pending, "crashed", exit_code=1)
    await eventually(lambda: subscriber.expect("manman.session.running", "manman.session.crashed", session_id=pending))
    assert all(one.message_id for one in subscriber.seen)  # it drops what has the id of another


async def test_a_clean_end_of_its_own_is_told_as_stopped_with_the_final_status(
    host: ScriptedHost, pending: int, subscriber: Subscriber
) -> None:
    await host.report(pending, "running")
    await host.report(pending, "stopping")
    await host.report(pending, "stopped", exit_code=0, reason="exited", final_status="completed")
    await eventually(lambda: subscriber.expect("manman.session.running", "manman.session.stopped", session_id=pending))
    (_, _), (_, stopped) = await subscriber.events(session_id=pending)
    assert (stopped["status"], stopped["final_status"]) == ("stopped", "completed")


async def test_a_refused_report_tells_nobody(host: ScriptedHost, pending: int, subscriber: Subscriber) -> None:
    await host.report(pending, "running")
    await host.report(pending, "flying")
    await host.report(pending, "crashed", exit_code=1)
    await eventually(lambda: subscriber.expect("manman.session.running", "manman.session.crashed", session_id=pending))
