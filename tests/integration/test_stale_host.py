"""A host falls silent and comes back."""

import asyncio

from manman_devstack.eventually import eventually
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Subscriber


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
