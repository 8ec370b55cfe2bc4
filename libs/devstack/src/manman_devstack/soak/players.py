"""The players of a soak: each has a deployment, starts it when it does not run, and ends it in one way or another.

They know nothing but what the API tells them, and take a refusal as anybody would: they look again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manman.errors import ManManError

if TYPE_CHECKING:
    from random import Random

    from manman_devstack.control import Control
    from manman_devstack.stage import Stage

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 3.0
WAYS = {"wait": 25, "stop": 3, "force": 2, "restart": 2, "crash": 1, "complete": 1}


@dataclass
class Players:
    """What they share: the API, chance, a lock that somebody may hold while nothing is to be started, and a tally."""

    control: Control
    stage: Stage
    chance: Random
    starts: asyncio.Lock = field(default_factory=asyncio.Lock)
    tally: Counter[str] = field(default_factory=Counter)

    async def play(self, deployment_id: int, until: float) -> None:
        """Play until then (`monotonic`)."""
        while time.monotonic() < until:
            try:
                await self._move(deployment_id)
            except ManManError as refusal:
                self.tally[f"refused: {type(refusal).__name__}"] += 1
            await asyncio.sleep(self.chance.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))

    async def _move(self, deployment_id: int) -> None:
        answer = await self.control.call("ListSessions", server_game_config_id=deployment_id, live_only=True)
        if not answer["sessions"]:
            await self._start(deployment_id, force=False)
            return
        session_id = int(answer["sessions"][0]["session_id"])
        (way,) = self.chance.choices(list(WAYS), list(WAYS.values()))
        match way:
            case "stop" | "force":
                await self.control.call("StopSession", session_id=session_id, force=way == "force")
            case "restart":
                await self._start(deployment_id, force=True)
            case "crash":
                await self.stage.say(session_id, "exit 3")
            case "complete":
                await self.stage.say(session_id, "exit 0")
        self.tally[way] += 1

    async def _start(self, deployment_id: int, *, force: bool) -> None:
        async with self.starts:
            await self.stage.start(deployment_id, force=force)
        self.tally["start"] += 1
