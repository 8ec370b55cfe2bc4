"""The villain of a soak: kills or restarts one part after the other, drawn by chance, and brings each back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import docker

from manman_devstack.fragile_platform import SETTLED_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

    from manman_devstack.fragile_platform import FragilePlatform

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0
LONGEST_ABSENCE_S = 3.0
DEEDS: dict[str, int] = {
    "kill a wrapper": 6,
    "kill a game": 5,
    "kill host": 5,
    "restart host": 2,
    "kill processor": 4,
    "restart processor": 1,
    "kill api": 2,
    "kill host processor": 1,
    "kill api processor host": 1,
    "kill broker": 1,
    "restart broker": 1,
    "kill broker host": 1,
}
"""What may be done, and how often: a verb and the parts that it is done to at once, or a container of ours."""


@dataclass
class Villain:
    """Does deeds. `starts` is held while the broker is about to go; `say` tells people of each deed."""

    fragile: FragilePlatform
    chance: Random
    starts: asyncio.Lock
    say: Callable[[str], None]
    tally: Counter[str] = field(default_factory=Counter)

    async def rage(self, until: float) -> None:
        """Do deeds until then (`monotonic`); everything runs again when it returns."""
        while time.monotonic() < until:
            await asyncio.sleep(self.chance.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
            (deed,) = self.chance.choices(list(DEEDS), list(DEEDS.values()))
            self.say(deed)
            await self._do(deed)
            self.tally[deed] += 1

    async def _do(self, deed: str) -> None:
        verb, *parts = deed.split()
        if parts[0] == "a":
            await asyncio.to_thread(self._kill_container, parts[1])
            return
        async with self._without_young_streams(parts):
            end = self.fragile.kill if verb == "kill" else self.fragile.stop
            await asyncio.gather(*(end(part) for part in parts))
            await asyncio.sleep(self.chance.uniform(0.0, LONGEST_ABSENCE_S))
            for part in parts:
                await self.fragile.start(part)

    @contextlib.asynccontextmanager
    async def _without_young_streams(self, parts: list[str]) -> AsyncIterator[None]:
        if "broker" not in parts:
            yield
            return
        async with self.starts:
            await asyncio.sleep(SETTLED_S)
            yield

    def _kill_container(self, kind: str) -> None:
        labels = [*self.fragile.engine.labels, f"manman.type={kind}"]
        found = self.fragile.engine.client.api.containers(filters={"label": labels})
        if not found:
            return
        victim = self.chance.choice(sorted(found, key=lambda one: str(one["Names"])))
        with contextlib.suppress(docker.errors.APIError):  # it has just ended by itself
            self.fragile.engine.client.api.kill(victim["Id"])
