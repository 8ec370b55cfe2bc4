"""One soak from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from random import Random
from typing import TYPE_CHECKING

from manman_devstack import images, parts, talking_game
from manman_devstack.control import by_grpc
from manman_devstack.eventually import eventually
from manman_devstack.fragile_platform import fragile_platform
from manman_devstack.onlooker import Onlooker
from manman_devstack.soak import truth
from manman_devstack.soak.players import Players
from manman_devstack.soak.villain import Villain
from manman_devstack.stage import Stage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from manman_devstack.fragile_platform import FragilePlatform
    from manman_devstack.home import Home
    from manman_devstack.onlooker import Seen

DEPLOYMENTS = 5
MANY_LINES = 1_000_000
ONLINE_WITHIN_S = 30.0
RIGHT_WITHIN_S = 150.0
TOLD_WITHIN_S = 30.0
WITNESS = "witness-of-the-soak"
SETTINGS = {
    "HEARTBEAT_SECONDS": "0.5",
    "STALE_HOST_THRESHOLD_SECONDS": "60",
    "OUTBOX_POLL_SECONDS": "0.3",
    "RABBITMQ_HEARTBEAT_SECONDS": "2",
    "INVENTORY_GRACE_SECONDS": "10",
    "ORPHAN_GRACE_SECONDS": "5",
    "ORPHAN_INTERVAL_SECONDS": "2",
    "DEAD_LETTER_INTERVAL_SECONDS": "1",
}
"""Short patience, so that what heals only after minutes heals within the soak."""


def run(seconds: float, seed: int | None) -> int:
    """Soak for so long, with this seed or one that is drawn; return when everything agreed."""
    home = parts.own_run_home()
    try:
        asyncio.run(soak(home, seconds, secrets.randbelow(2**32) if seed is None else seed))
    finally:
        parts.end_run(home)
    return 0


async def soak(home: Home, seconds: float, seed: int) -> None:
    """Do it in this home. AssertionError says what did not agree; what was done is printed on the way."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    say(f"soaking for {seconds:g} s with seed {seed}")
    with contextlib.closing(images.connect(parts.docker())) as engine:
        images.ensure_base(engine, talking_game.IMAGE)
    async with fragile_platform(home, SETTINGS) as fragile, by_grpc(fragile.platform.grpc) as control:
        onlooker = Onlooker(fragile.platform.amqp_url)
        await onlooker.subscribe(WITNESS, "external", "manman.#")
        chance = Random(seed)  # noqa: S311 - nothing secret about it
        stage = Stage(control)
        players = Players(control, stage, Random(chance.random()))  # noqa: S311 - the same
        villain = Villain(fragile, Random(chance.random()), players.starts, say)  # noqa: S311 - the same
        deployments = await _deployments(fragile, stage)
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for deployment_id in deployments:
                group.create_task(players.play(deployment_id, until))
            group.create_task(villain.rage(until))
        say(f"the killing is over: {_listed(villain.tally)}; players: {_listed(players.tally)}")
        await _comes_right(fragile, players, onlooker, say)


async def _deployments(fragile: FragilePlatform, stage: Stage) -> list[int]:
    async def online() -> int:
        row = await fragile.database.row("SELECT server_id, status FROM servers")
        if row["status"] != "online":
            raise AssertionError(f"the host is {row['status']}")
        return int(row["server_id"])

    server_id = await eventually(online, timeout_s=ONLINE_WITHIN_S)
    game = {
        "image": talking_game.IMAGE,
        "command": talking_game.command(MANY_LINES),
        "stop_command": talking_game.STOP_COMMAND,
        "stop_timeout_seconds": 15,
    }
    return [await stage.deployment(server_id, **game) for _ in range(DEPLOYMENTS)]


async def _comes_right(
    fragile: FragilePlatform, players: Players, onlooker: Onlooker, say: Callable[[str], None]
) -> None:
    """Wait until all agrees, with games running and again without any; then look at what was written and told."""
    await eventually(lambda: truth.agrees(fragile), timeout_s=RIGHT_WITHIN_S)
    say("every live session runs, and nothing else does")
    live = await players.control.call("ListSessions", live_only=True)
    for session in live["sessions"]:
        await players.control.call("StopSession", session_id=session["session_id"])
    await eventually(lambda: truth.nothing_is_left(fragile), timeout_s=RIGHT_WITHIN_S)
    say(f"{len(live['sessions'])} sessions were stopped, and nothing is left")
    await truth.nothing_was_refused(fragile)
    lines = await eventually(lambda: truth.lines_are_numbered(fragile, onlooker), timeout_s=TOLD_WITHIN_S)
    say(f"{lines.lines} lines are numbered as the games said them, {lines.missing} are marked as missing")
    seen: list[Seen] = []

    async def all_told() -> truth.Counted:
        seen.extend(await onlooker.take_all(WITNESS))
        return await truth.changes_were_told(fragile, seen)

    events = await eventually(all_told, timeout_s=TOLD_WITHIN_S)
    say(f"{events.events} changes were told, {events.copies} of them again")


def _listed(tally: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(tally.items()))
