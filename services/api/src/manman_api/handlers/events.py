"""The log of external events: reading it, and having the relay publish from it again.

A call looks at a bounded part of the log, also when its filter lets little of it through; its answer says how far it
got.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import structlog

from manman.messages.routing import matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman.db.event_log import LoggedEvent
    from manman.db.unit_of_work import Uow

LOOKED_AT_IN_ONE_CALL = 5000
DEFAULT_SIZE, MAX_SIZE = 100, 1000
"""Events in one answer, and most of them, also to be published again."""

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events are wanted; what is empty does not filter. `routing_keys` are patterns of a topic exchange."""

    routing_keys: Sequence[str] = ()
    server_id: int = 0
    sgc_id: int = 0
    session_id: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return not (self.routing_keys or self.server_id or self.sgc_id or self.session_id)

    def lets_through(self, event: LoggedEvent) -> bool:
        """Tell whether the event is wanted."""
        if self.routing_keys and not any(matches(pattern, event.routing_key) for pattern in self.routing_keys):
            return False
        if not (self.server_id or self.sgc_id or self.session_id):
            return True
        about = _about(event.body)
        return all(
            wanted in (0, of)
            for wanted, of in (
                (self.server_id, about.server_id),
                (self.sgc_id, about.sgc_id),
                (self.session_id, about.session_id),
            )
        )


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the log: the events that are wanted, how far it was looked at, and whether there is more."""

    events: Sequence[LoggedEvent]
    last_position: int
    more: bool
    forgotten: bool = False


async def list_events(*, after_position: int, page_size: int, wanted: Filter, uow: Uow) -> Part:
    """Return the events after a position; `forgotten` when some of them may be kept no more."""
    size = min(page_size or DEFAULT_SIZE, MAX_SIZE)
    async with uow() as tx:
        rows = await tx.event_log.after(after_position, limit=_looked_at(size, wanted) + 1)
        oldest, newest = await tx.event_log.span()
    part = _part(rows, after_position, size, wanted)
    forgotten = oldest > after_position + 1 if oldest else newest > after_position
    return dataclasses.replace(part, forgotten=forgotten)


async def replay_events(*, from_position: int, to_position: int, wanted: Filter, by: str, uow: Uow) -> Part:
    """Have events published again, in their order, each with its own id; a thousand at most."""
    async with uow() as tx:
        rows = await tx.event_log.after(from_position - 1, limit=_looked_at(MAX_SIZE, wanted) + 1)
        if to_position:
            rows = [row for row in rows if row.position <= to_position]
        part = _part(rows, from_position - 1, MAX_SIZE, wanted)
        if part.events:
            await tx.event_log.replay([event.position for event in part.events])
        await tx.commit()
    log.info(
        "events_replayed",
        from_position=from_position,
        to_position=part.last_position,
        count=len(part.events),
        by=by,
    )
    return part


def _looked_at(size: int, wanted: Filter) -> int:
    return size if wanted.is_empty else LOOKED_AT_IN_ONE_CALL


def _part(rows: Sequence[LoggedEvent], position: int, size: int, wanted: Filter) -> Part:
    """Return what is wanted of `rows`, which may be one more than a call may look at."""
    events: list[LoggedEvent] = []
    for row in rows[:LOOKED_AT_IN_ONE_CALL]:
        if len(events) == size:
            break
        position = row.position
        if wanted.lets_through(row):
            events.append(row)
    return Part(events, position, more=bool(rows) and rows[-1].position > position)


class _About(msgspec.Struct):
    """What an event is about; 0 for what it does not say."""

    server_id: int = 0
    sgc_id: int = 0
    session_id: int = 0


_about = msgspec.json.Decoder(_About).decode
