"""Watches one running game: whether players can come, whether it still answers them, and how many there are.

A line of its output or the first answer to its query means ready. A game that answered once and then stays silent
for its config's limit hangs. What follows from either is not decided here.

The game is asked at its own address in its session's network: a published port accepts connections for a game that is
not there yet. The time in which the engine or this host was away never counts as silence of the game.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog

from manman.bus.connection import Backoff
from manman.domain.patterns import compile_pattern
from manman.errors import ManManError, Unavailable
from manman_host import probes, session_remains
from manman_host.probes import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from manman.messages.commands import StartSession
    from manman_host.session_folder import SessionFolder
    from manman_host.session_start import Parts
    from manman_host.wrapper_client import WrapperClient

PROBE_TIMEOUT_S = 2.0
MIN_SILENCES = 3
"""So many probes in a row must stay without an answer, however short the limit is: a packet may get lost."""

log = structlog.get_logger(__name__)


class GameWatch:
    """Watches the game of one session. `run` it while the game runs; without pattern and query it ends at once."""

    def __init__(
        self,
        parts: Parts,
        command: StartSession,
        wrapper: WrapperClient,
        folder: SessionFolder,
        *,
        ready: Callable[[], None],
        hangs: Callable[[float], None],
    ) -> None:
        """Watch as the command says. `ready` and `hangs` are called once at most, `hangs` with the seconds silent."""
        self._parts = parts
        self._session_id = command.session_id
        self._wanted = command.readiness
        self._wrapper = wrapper
        self._folder = folder
        self._address = ""
        self._tell_ready = ready
        self._tell_hangs = hangs
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Watch until nothing more is to be told; cancel it at the game's end."""
        async with asyncio.TaskGroup() as group:
            if self._wanted.pattern:
                reading = group.create_task(self._read_lines())
                group.create_task(self._end_when_ready(reading))
            if self._wanted.query:
                group.create_task(self._ask())

    def _is_ready(self) -> None:
        if not self._ready.is_set():
            self._ready.set()
            self._tell_ready()

    async def _end_when_ready(self, reading: asyncio.Task[None]) -> None:
        await self._ready.wait()
        reading.cancel()

    async def _read_lines(self) -> None:
        """Look for the pattern in every line that the wrapper keeps and in all that come, until one matches."""
        pattern, seq, backoff = compile_pattern(self._wanted.pattern), 0, Backoff(longest_s=5.0)
        while True:
            try:
                async with contextlib.aclosing(self._wrapper.output(seq)) as chunks:
                    async for chunk in chunks:
                        backoff.reset()
                        if chunk.eof:
                            return
                        seq = chunk.seq
                        if not chunk.skipped_lines and pattern.search(chunk.data.decode("utf-8", "replace")):
                            self._is_ready()
                            return
            except ManManError as error:
                log.info("lines_interrupted", reason=str(error))
            await backoff.pause()

    async def _ask(self) -> None:
        """Ask again and again: until the first answer, and with a limit until the game hangs."""
        limit_s = self._wanted.liveness_limit_seconds
        answered_at, silences = time.monotonic() if self._folder.has_answered() else 0.0, 0
        while True:
            answer, was_asked = None, True
            try:
                answer = await self._ask_once()
            except Unavailable:
                was_asked = False
            if answer is not None:
                if not answered_at:
                    self._folder.note_answer()
                self._is_ready()
                answered_at, silences = time.monotonic(), 0
                if not limit_s:
                    return
            elif not was_asked:
                answered_at, silences = answered_at and time.monotonic(), 0
            elif answered_at:
                silences += 1
                silent_s = time.monotonic() - answered_at
                if silent_s > limit_s and silences >= MIN_SILENCES:
                    self._tell_hangs(silent_s)
                    return
            await asyncio.sleep(self._parts.settings.query_interval_seconds)

    async def players(self) -> Answer:
        """Ask a game that is ready how many players there are; nothing is known of one that does not tell."""
        if self._wanted.query not in probes.COUNTING or not self._ready.is_set():
            return Answer()
        try:
            return await self._ask_once() or Answer()
        except Unavailable:
            return Answer()

    async def _ask_once(self) -> Answer | None:
        """Ask; look for the game's address when it is not known, and again when it does not answer there.

        Raises:
            Unavailable: nobody knows whether it was the game that did not answer; the engine does not say where it is.

        """
        if self._address and (answer := await self._ask_at(self._address)) is not None:
            return answer
        found = await self._find_address()
        if not found:
            raise Unavailable("the game has no address")
        if found == self._address:
            return None
        self._address = found
        return await self._ask_at(found)

    async def _find_address(self) -> str:
        found = await session_remains.find_containers(self._parts, self._session_id)
        return next((one.address for one in found if one.kind == "game"), "")

    async def _ask_at(self, address: str) -> Answer | None:
        return await probes.ask(self._wanted.query, address, self._wanted.port, timeout_s=PROBE_TIMEOUT_S)
