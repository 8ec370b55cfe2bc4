"""A host falls silent and comes back."""

import asyncio

from manman.errors import ManManError
from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Stage, Subscriber, lines_until


async def test_a_silent_host_is_reported_stale_once_and_one_heartbeat_brings_it_back(
    host: ScriptedHost, database: Database, subscriber: Subscriber
) -> None:
    async def status_is(expected: str) -> bool:
        row = await database.row("SELECT status FROM servers WHERE server_id = %s", host.server_id)
        return row["status"] == expected

    await eventually(lambda: status_is("offline"), timeout_s=15)
    await eventually(lambda: subscriber.expect("manman.host.stale", server_id=host.server_id))
    ((_, stale),) = await subscriber.events(server_id=host.server_id)
    assert stale["status"] == "offline"

    await asyncio.sleep(1.0)  # three more sweeps see the same silence
    await subscriber.expect("manman.host.stale", server_id=host.server_id)

    await host.beat()
    await eventually(lambda: status_is("online"))
    await eventually(lambda: subscriber.expect("manman.host.stale", "manman.host.online", server_id=host.server_id))


async def test_a_host_that_keeps_beating_is_never_called_stale(host: ScriptedHost, subscriber: Subscriber) -> None:
    for _ in range(8):
        await host.beat()
        await asyncio.sleep(0.5)
    assert "manman.host.stale" not in await subscriber.keys(server_id=host.server_id)


async def test_a_session_of_a_stale_host_keeps_its_last_known_state(
    host: ScriptedHost, pending: int, database: Database
) -> None:
    async def offline() -> bool:
        row = await database.row("SELECT status FROM servers WHERE server_id = %s", host.server_id)
        return row["status"] == "offline"

    await host.report(pending, "running")
    await eventually(lambda: database.status_is(pending, "running"))
    await eventually(offline, timeout_s=15)
    await database.status_is(pending, "running")


async def test_a_frozen_host_is_stale_and_back_when_it_thaws_and_its_game_never_stopped(
    *, platform: Platform, real_host: int, stage: Stage, database: Database, subscriber: Subscriber
) -> None:
    session_id = await stage.start(await stage.deployment(real_host))
    await eventually(lambda: database.status_is(session_id, "running"), timeout_s=40)

    async def told(*keys: str) -> None:
        told = await subscriber.keys(server_id=real_host)
        assert [key for key in told if key.startswith("manman.host.")] == list(keys)

    platform.freeze("host")
    try:
        await eventually(lambda: told("manman.host.stale"), timeout_s=20)
        await database.status_is(session_id, "running")
    finally:
        platform.thaw("host")
    await eventually(lambda: told("manman.host.stale", "manman.host.online"), timeout_s=30)

    async def console_answers() -> None:
        try:
            await stage.say(session_id, "still there?")
        except ManManError as error:
            raise AssertionError(str(error)) from error

    await eventually(console_answers, timeout_s=20)
    await lines_until(platform.rest, session_id, "heard still there?")
    await stage.control.call("StopSession", session_id=session_id)
    await eventually(lambda: database.status_is(session_id, "stopped"), timeout_s=30)
    ended = ("manman.session.running", "manman.session.stopped")
    await eventually(lambda: subscriber.expect(*ended, session_id=session_id))
