"""The outbox: messages that commit together with the change they announce.

Adding writes a row; the transaction's commit wakes the relay (`NOTIFY`, without payload), whose poll is the truth.
Identity ids are not ordered by commit, so the relay always asks for *unpublished* rows, never for "greater than".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, delete, func, select, update

from manman.db.models import Outbox
from manman.messages import codec
from manman.messages.routing import EXCHANGE, EXTERNAL_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.messages.body import Body

CHANNEL = "manman_outbox"
"""The NOTIFY channel."""


class OutboxRows:
    """The outbox within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session
        self.added = 0

    def add_command(
        self,
        *,
        routing_key: str,
        body: Body,
        session_id: int | None = None,
        expires_at: datetime | None = None,
    ) -> UUID:
        """Add a command to a host about `session_id`; return its message id.

        When nobody can take it, or `expires_at` passes first, the row fails and with it a session that should start.
        Before a start command the relay declares the session's log stream.
        """
        return self._add(
            exchange=EXCHANGE,
            routing_key=routing_key,
            body=body,
            mandatory=True,
            session_id=session_id,
            expires_at=expires_at,
        )

    def add_external(self, *, routing_key: str, body: Body, message_id: UUID, session_id: int | None = None) -> UUID:
        """Add an event for subscribers. `message_id` is the body's `event_id`. Nobody needs to listen.

        The relay publishes to the exchange that its settings name; the row holds the default name.
        """
        return self._add(
            exchange=EXTERNAL_EXCHANGE, routing_key=routing_key, body=body, message_id=message_id, session_id=session_id
        )

    def _add(self, *, body: Body, message_id: UUID | None = None, **columns: Any) -> UUID:  # noqa: ANN401 - columns of the table
        identity = message_id or uuid4()
        self._db.add(Outbox(message_id=identity, body=codec.encode(body), **columns))
        self.added += 1
        return identity

    async def unpublished(self, *, limit: int) -> Sequence[Outbox]:
        """Return the oldest rows that are neither published nor failed, by id."""
        query = (
            select(Outbox)
            .where(Outbox.published_at.is_(None), Outbox.failed_at.is_(None))
            .order_by(Outbox.id)
            .limit(limit)
        )
        return (await self._db.scalars(query)).all()

    async def depth(self) -> int:
        """Return how many rows wait."""
        query = select(func.count()).where(Outbox.published_at.is_(None), Outbox.failed_at.is_(None))
        return int(await self._db.scalar(query) or 0)

    async def mark_published(self, ids: Sequence[int], *, now: datetime) -> None:
        """Record that the broker confirmed these."""
        await self._db.execute(
            update(Outbox).where(Outbox.id.in_(ids)).values(published_at=now),
            execution_options={"synchronize_session": False},
        )

    async def mark_failed(self, errors: Mapping[int, str], *, now: datetime) -> None:
        """Record that these can never be delivered, and why."""
        for row_id, error in errors.items():
            await self._db.execute(
                update(Outbox).where(Outbox.id == row_id).values(failed_at=now, error=error),
                execution_options={"synchronize_session": False},
            )

    async def delete_settled(self, *, before: datetime, limit: int = 5000) -> int:
        """Delete rows that were published or given up before `before`; return how many."""
        settled = func.coalesce(Outbox.published_at, Outbox.failed_at)
        old = select(Outbox.id).where(settled < before).limit(limit)
        result = await self._db.execute(delete(Outbox).where(Outbox.id.in_(old)))
        return result.rowcount if isinstance(result, CursorResult) else 0
