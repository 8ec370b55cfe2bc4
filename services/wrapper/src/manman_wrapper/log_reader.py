"""Reads the engine's log of one container into the numbered tail, from any point and through interruptions.

The engine keeps the log, so the game never waits for us and nothing is lost while nobody reads. After an interruption
the log is asked for from a little before the last known line, and lines are taken up behind that very line.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from manman_wrapper.docker_http import DockerHttp, EngineAwayError, EngineError
from manman_wrapper.output import Entry, Line, LineAssembler, Numbering, Position, Tail, stamp_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MARGIN = timedelta(seconds=1)
"""Two streams' lines may stand in the log in another order than their stamps; never by that much."""
SILENCE_S = 1.0
RETRY_S = 0.5
LOST_NUMBERS = 100_000
"""How far numbers jump when the known place is gone from the log: no number is ever used for two lines."""

log = structlog.get_logger(__name__)


@dataclasses.dataclass
class Limits:
    """Bounds of what is read and kept."""

    lines_per_second: int
    tail_lines: int
    tail_bytes: int


class LogReader:
    """The numbered output of one container. `changed` is called whenever lines were added or the end was reached."""

    def __init__(self, docker: DockerHttp, limits: Limits, changed: Callable[[], None]) -> None:
        """Start with nothing read."""
        self._docker = docker
        self._changed = changed
        self.tail = Tail(limits.tail_lines, limits.tail_bytes)
        self.ended = False
        self._numbering = Numbering(limits.lines_per_second)
        self._limits = limits
        self._positions: deque[Position] = deque()
        self._last: Entry | None = None
        self._last_piece_at = 0.0

    @property
    def tail_from(self) -> Position | None:
        """Return the position from which reading again brings the whole tail back."""
        while len(self._positions) > 1 and self._positions[1].seq <= self.tail.first_seq:
            self._positions.popleft()
        return self._positions[0] if self._positions else None

    async def read(self, container_id: str, *, tty: bool, start: Position | None, last_seq: int = 0) -> None:
        """Read until the container has ended and its log is finished; go on after interruptions for ever."""
        if start is not None:
            self._numbering = Numbering(self._limits.lines_per_second, next_seq=start.seq)
        wanted = start
        inclusive = True
        while True:
            assembler = LineAssembler(tty=tty)
            try:
                await self._read_once(container_id, assembler, wanted, last_seq, inclusive=inclusive)
                if await self._is_over(container_id):
                    break
            except EngineAwayError as error:
                log.warning("log_interrupted", error=str(error))
            except EngineError as error:
                if error.status == 404:  # noqa: PLR2004 - the container is gone, so is its log
                    break
                log.warning("log_refused", error=str(error))
            if self._last is not None:
                wanted, inclusive = Position(0, self._last.stamp, self._last.stream), False
            await asyncio.sleep(RETRY_S)
        self.ended = True
        self._changed()

    async def _read_once(
        self, container_id: str, assembler: LineAssembler, wanted: Position | None, last_seq: int, *, inclusive: bool
    ) -> None:
        query = {"follow": "1", "stdout": "1", "stderr": "1", "timestamps": "1"}
        if wanted is not None:
            query["since"] = _since(wanted.stamp)
        search = _Search(wanted, inclusive=inclusive) if wanted is not None else None
        path = f"/containers/{quote(container_id)}/logs"
        async with self._docker.open("GET", path, query=query) as response:
            async for piece in response.pieces():
                self._last_piece_at = time.monotonic()
                self._take(assembler.feed(piece), search, last_seq)
        self._take(assembler.rest(), search, last_seq)
        if search is not None and search.held and not search.done:
            search.lost = True
            self._take_all(search.held, search, last_seq)
        self._add(self._numbering.close_second())

    async def close_silent_seconds(self) -> None:
        """Say what a flood cost once it is over: a second is closed when nothing has come for one."""
        while not self.ended:
            await asyncio.sleep(SILENCE_S)
            if time.monotonic() - self._last_piece_at > SILENCE_S:
                self._add(self._numbering.close_second())

    def _take(self, entries: Iterable[Entry], search: _Search | None, last_seq: int) -> None:
        for entry in entries:
            if search is None or search.done:
                self._number(entry)
            elif (found := search.offer(entry)) is not None:
                self._take_all(found, search, last_seq)
        self._changed()

    def _take_all(self, entries: list[Entry], search: _Search, last_seq: int) -> None:
        if search.lost:
            log.warning("log_place_lost", stamp=search.wanted.stamp)
            first = max(last_seq, self._numbering.next_seq) + LOST_NUMBERS
            self._numbering = Numbering(self._limits.lines_per_second, next_seq=first + 1)
            text = b"[manman] lines were lost: the engine's log was cut while nobody read it"
            self.tail.add(Line(first, stamp_ms(search.wanted.stamp), is_stderr=False, data=text, skipped=1))
        for entry in entries:
            self._number(entry)

    def _number(self, entry: Entry) -> None:
        lines, position = self._numbering.number(entry)
        if position is not None:
            self._positions.append(position)
        self._last = entry
        for line in lines:
            self.tail.add(line)

    def _add(self, lines: list[Line]) -> None:
        for line in lines:
            self.tail.add(line)
        if lines:
            self._changed()

    async def _is_over(self, container_id: str) -> bool:
        found = await self._docker.call("GET", f"/containers/{quote(container_id)}/json")
        return not found["State"]["Running"]


class _Search:
    """Looks for the wanted line in a log that starts a little before it; holds what stands before it."""

    def __init__(self, wanted: Position, *, inclusive: bool) -> None:
        self.wanted = wanted
        self.held: list[Entry] = []
        self.done = False
        self.lost = False
        self._inclusive = inclusive
        self._give_up_at = _shift(wanted.stamp, MARGIN)

    def offer(self, entry: Entry) -> list[Entry] | None:
        """Return the entries to go on with once that is known; None while still looking."""
        if (entry.stamp, entry.stream) == (self.wanted.stamp, self.wanted.stream):
            self.done = True
            return [entry] if self._inclusive else []
        if entry.stamp > self.wanted.stamp:
            self.held.append(entry)
        if entry.stamp > self._give_up_at:
            self.done = self.lost = True
            return self.held
        return None


def _since(stamp: str) -> str:
    """Return the engine's form (Unix seconds and nanoseconds) of a moment a little before `stamp`."""
    moment = datetime.fromisoformat(stamp) - MARGIN
    return f"{int(moment.timestamp())}.000000000"


def _shift(stamp: str, by: timedelta) -> str:
    return (datetime.fromisoformat(stamp) + by).strftime("%Y-%m-%dT%H:%M:%S.%f") + stamp[26:]
