"""Queries about dead letters, and the one that sends them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, CursorResult, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import defer

from manman.db.models import DeadLetter, Outbox
from manman.errors import NotFound
from manman.messages.routing import EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.outbox import OutboxRows


class DeadLetters:
    """Dead letters within one transaction."""

    def __init__(self, database_session: AsyncSession, outbox: OutboxRows) -> None:
        """Work in this transaction."""
        self._db = database_session
        self._outbox = outbox

    async def store(self, letters: Sequence[Mapping[str, Any]]) -> int:
        """Store those that are not there yet; return how many were new."""
        if not letters:
            return 0
        query = postgresql.insert(DeadLetter).values([dict(letter) for letter in letters]).on_conflict_do_nothing()
        return len((await self._db.scalars(query.returning(DeadLetter.dead_letter_id))).all())

    async def get(self, dead_letter_id: int) -> DeadLetter:
        """Return the letter; raise `NotFound`."""
        row = await self._db.get(DeadLetter, dead_letter_id)
        if row is None:
            raise NotFound("dead letter", dead_letter_id)
        return row

    async def list(
        self, *, queue: str = "", waiting_only: bool = False, below: int = 0, limit: int
    ) -> Sequence[DeadLetter]:
        """Return letters without body and headers, the newest first; `below` continues after the one of that id."""
        query = select(DeadLetter).order_by(DeadLetter.dead_letter_id.desc()).limit(limit)
        query = query.options(defer(DeadLetter.body, raiseload=True), defer(DeadLetter.headers, raiseload=True))
        if queue:
            query = query.where(DeadLetter.queue == queue)
        if waiting_only:
            query = query.where(DeadLetter.replayed_at.is_(None))
        if below:
            query = query.where(DeadLetter.dead_letter_id < below)
        return (await self._db.scalars(query)).all()

    async def lock(self, dead_letter_ids: Collection[int]) -> dict[int, bool]:
        """Lock those that exist, in id order; tell by id whether the body is cut off."""
        query = (
            select(DeadLetter.dead_letter_id, DeadLetter.is_cut_off)
            .where(DeadLetter.dead_letter_id.in_(dead_letter_ids))
            .order_by(DeadLetter.dead_letter_id)
            .with_for_update(key_share=True)
        )
        return {row.dead_letter_id: row.is_cut_off for row in await self._db.execute(query)}

    async def lock_waiting(self, queue: str) -> Sequence[int]:
        """Lock the letters of a queue that were not sent again yet and are whole; return their ids in order."""
        query = (
            select(DeadLetter.dead_letter_id)
            .where(DeadLetter.queue == queue, DeadLetter.replayed_at.is_(None), ~DeadLetter.is_cut_off)
            .order_by(DeadLetter.dead_letter_id)
            .with_for_update(key_share=True)
        )
        return (await self._db.scalars(query)).all()

    async def replay(self, dead_letter_ids: Collection[int], *, by: str, now: datetime) -> None:
        """Mark locked letters as sent again, and add each to the outbox under its key and message id, in id order."""
        these = DeadLetter.dead_letter_id.in_(dead_letter_ids)
        messages = (
            select(literal(EXCHANGE), DeadLetter.routing_key, DeadLetter.body, literal(True), DeadLetter.message_id)
            .where(these)
            .order_by(DeadLetter.dead_letter_id)
        )
        columns = ["exchange", "routing_key", "body", "mandatory", "replay_of"]
        await self._db.execute(insert(Outbox).from_select(columns, messages, include_defaults=False))
        await self._outbox.wake()
        await self._db.execute(
            update(DeadLetter).where(these).values(replayed_at=now, replayed_by=by),
            execution_options={"synchronize_session": False},
        )

    async def purge(self, *, dead_letter_ids: Collection[int] = (), queue: str = "") -> int:
        """Delete these letters, or all of a queue; return how many."""
        if queue:
            return await self._delete(DeadLetter.queue == queue)
        return await self._delete(DeadLetter.dead_letter_id.in_(dead_letter_ids))

    async def delete_beyond(self, newest: int) -> int:
        """Delete all but the newest so many; return how many."""
        last_kept = (
            select(DeadLetter.dead_letter_id)
            .order_by(DeadLetter.dead_letter_id.desc())
            .limit(1)
            .offset(newest - 1)
            .scalar_subquery()
        )
        return await self._delete(DeadLetter.dead_letter_id < last_kept)

    async def waiting(self) -> dict[str, int]:
        """Return how many letters were not sent again, by queue."""
        query = (
            select(DeadLetter.queue, func.count()).where(DeadLetter.replayed_at.is_(None)).group_by(DeadLetter.queue)
        )
        return {row[0]: row[1] for row in await self._db.execute(query)}

    async def _delete(self, which: ColumnElement[bool]) -> int:
        result = await self._db.execute(
            delete(DeadLetter).where(which), execution_options={"synchronize_session": False}
        )
        return result.rowcount if isinstance(result, CursorResult) else 0
