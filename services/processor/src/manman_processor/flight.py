"""The *flight*: the messages that the relay has sent and not settled yet, in the order in which they were sent.

What is read together is sent together, as a *wave*; the next one does not wait for the broker's word on those before.
Waves are settled in their order, so that events get their places in the event log in the order of publishing. When a
message is lost, nothing behind it counts as sent, even if the broker has it: all of that is read and sent again.

Not here: reading, sending and recording (`manman_processor.relay`). Nothing here waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from manman.bus.publisher import Unroutable
from manman.db.outbox import Look

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from manman.bus.publisher import Result
    from manman.db.outbox import Unpublished

MAX_ROWS = 3000
"""So many rows may be under way; more are not read until some are settled."""

ROOM = 1000
"""A look is worth making when so many rows may be read."""


class Wave(NamedTuple):
    """Rows that were sent together, and what becomes of each."""

    rows: Sequence[Unpublished]
    results: asyncio.Future[list[Result]]


class Flight:
    """What is under way between the first look of a relay and its first loss."""

    def __init__(self, confirmed: Sequence[int] = ()) -> None:
        """Begin with nothing under way; `confirmed` is what an earlier flight had no time to record."""
        self.held_because = ""
        """Why nothing more is sent: a message was lost, or could not be prepared."""
        self.failed: dict[int, tuple[Unpublished, str]] = {}
        """Rows that can never be delivered, and why; not recorded yet."""
        self.confirmed = list(confirmed)
        """Rows that the broker confirmed; not recorded yet."""
        self.settled_count = 0
        self._waves: deque[Wave] = deque()
        self._row_count = 0

    @property
    def is_empty(self) -> bool:
        """Whether the broker has said its word on everything."""
        return not self._waves

    @property
    def has_room(self) -> bool:
        """Whether a look is worth making."""
        return not self.held_because and MAX_ROWS - self._row_count >= ROOM

    def look(self) -> Look:
        """Return the next look at the outbox: at what is not under way, and as much as may be."""
        on_their_way = [*self.failed, *self.confirmed, *(row.id for wave in self._waves for row in wave.rows)]
        return Look(in_flight=on_their_way, limit=0 if self.held_because else MAX_ROWS - self._row_count)

    def marked(self, count: int) -> None:
        """Note that the first so many confirmed rows are recorded."""
        del self.confirmed[:count]

    def sent(self, rows: Sequence[Unpublished], results: asyncio.Future[list[Result]]) -> None:
        """Add a wave."""
        self._waves.append(Wave(rows, results))
        self._row_count += len(rows)

    def give_up(self, row: Unpublished, why: str) -> None:
        """Note that a row can never be delivered."""
        self.failed[row.id] = row, why
        self.settled_count += 1

    def settle(self) -> None:
        """Take the results that are there, up to the first wave without."""
        while self._waves and self._waves[0].results.done():
            wave = self._waves.popleft()
            self._row_count -= len(wave.rows)
            for row, result in zip(wave.rows, wave.results.result(), strict=True):
                if self.held_because:
                    break
                if result is None:
                    self.confirmed.append(row.id)
                    self.settled_count += 1
                elif isinstance(result, Unroutable):
                    self.give_up(row, "the host has no queue: it never connected, or its queue was removed")
                else:
                    self.held_because = str(result)
