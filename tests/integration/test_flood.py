"""Reports come faster than they are handled, and the processor is killed in the middle of them, again and again."""

import asyncio
from collections import Counter

import pytest

from manman.messages import routing
from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Stage, Subscriber

pytestmark = pytest.mark.timeout(180)

SESSIONS = 20
LIFE = ("starting", "running", "stopping", "crashed")
TOLD = [routing.external_session("running"), routing.external_session("crashed")]


async def test_a_processor_killed_again_and_again_loses_no_report_and_invents_no_event(
    platform: Platform, host: ScriptedHost, stage: Stage, database: Database, subscriber: Subscriber
) -> None:
    sessions: list[int] = []
    for _ in range(SESSIONS):
        await host.beat()
        sessions.append(await stage.start(await stage.deployment(host.server_id)))

    async def report() -> None:
        for status in LIFE:
            for session_id in sessions:
                await host.report(session_id, status, exit_code=9 if status == "crashed" else None)
            await host.say("health.nonsense", b"{")

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(0.3)
            await platform.kill("processor")
            await platform.start("processor")

    await asyncio.gather(report(), kill())

    async def all_crashed() -> None:
        rows = await database.rows("SELECT status, exit_code FROM sessions WHERE session_id = ANY(%s)", sessions)
        assert Counter((row["status"], row["exit_code"]) for row in rows) == {("crashed", 9): SESSIONS}

    async def all_told() -> None:
        await subscriber.events()
        for session_id in sessions:
            assert await once_each(subscriber, session_id) == TOLD

    await eventually(all_crashed, timeout_s=60)
    await eventually(all_told, timeout_s=30)


async def once_each(subscriber: Subscriber, session_id: int) -> list[str]:
    """Return the keys of a session's events; one that came twice with one id, as is allowed, counts once."""
    keys: dict[object, str] = {}
    for key, body in await subscriber.events(session_id=session_id):
        keys.setdefault(body["event_id"], key)
    return list(keys.values())
