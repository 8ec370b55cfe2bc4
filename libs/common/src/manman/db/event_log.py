"""Queries about the event log: the published events in the outbox, by the position that the relay gave them.

Positions are given in the order of publishing, by the one process that relays, so whoever has read up to one misses
nothing that comes later. (The ids of the outbox are given before the commit, and so out of order.)
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - a named tuple reads its annotations
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID  # noqa: TC003 - the same

from sqlalchemy import CursorResult, cast, delete, func, insert, literal, select, text
from sqlalchemy.types import Text

from manman.db.models import Outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.outbox import OutboxRows

_AFTER = text(
    "SELECT position, message_id, routing_key, body, published_at FROM outbox WHERE position > :position "
    "ORDER BY position LIMIT :limit"
)
_NEWEST = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_positions")


class LoggedEvent(NamedTuple):
    """An event that was published."""

    position: int
    message_id: UUID
    routing_key: str
    body: bytes
    published_at: datetime


class EventLog:
    """The event log within one transaction."""

    def __init__(self, database_session: AsyncSession, outbox: OutboxRows) -> None:
        """Work in this transaction."""
        self._db = database_session
        self._outbox = outbox

    async def after(self, position: int, *, limit: int) -> Sequence[LoggedEvent]:
        """Return events after that position, in order."""
        rows = await self._db.execute(_AFTER, {"position": position, "limit": limit})
        return [LoggedEvent(*row) for row in rows]

    async def span(self) -> tuple[int, int]:
        """Return the position of the oldest event that is kept (0: none is) and the newest that was ever given."""
        oldest = await self._db.scalar(select(func.min(Outbox.position)))
        newest = await self._db.scalar(_NEWEST)
        return oldest or 0, newest or 0

    async def replay(self, positions: Collection[int]) -> None:
        """Add these events to the outbox again, in their order, each under the id that it had."""
        again = (
            select(Outbox.exchange, Outbox.routing_key, Outbox.body, literal(False), cast(Outbox.message_id, Text))
            .where(Outbox.position.in_(positions))
            .order_by(Outbox.position)
        )
        columns = ["exchange", "routing_key", "body", "mandatory", "replay_of"]
        await self._db.execute(insert(Outbox).from_select(columns, again, include_defaults=False))
        await self._outbox.wake()

    async def delete_oldest(self, *, keep: int, limit: int) -> int:
        """Delete events that are more than `keep` positions old, at most `limit` of them; return how many."""
        newest = select(func.max(Outbox.position)).scalar_subquery()
        old = select(Outbox.id).where(Outbox.position <= newest - keep).limit(limit)
        result = await self._db.execute(
            delete(Outbox).where(Outbox.id.in_(old)), execution_options={"synchronize_session": False}
        )
        return result.rowcount if isinstance(result, CursorResult) else 0
