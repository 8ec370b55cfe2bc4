"""Queries about idempotency keys. A key is kept in the transaction of what it stands for: both are there, or neither.

The first attempt inserts the key and so holds it; one that comes in the meantime waits for it, at most as long as for
any lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CursorResult, delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from manman.db.models import IdempotencyKey
from manman.domain.idempotency import check_same_request

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.domain.idempotency import Attempt

_PRIMARY_KEY = (IdempotencyKey.subject, IdempotencyKey.rpc, IdempotencyKey.key)


class IdempotencyKeys:
    """Idempotency keys within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def made_before(self, attempt: Attempt | None, *, now: datetime) -> int | None:
        """Return the id of what an earlier attempt made; None when this is the first, which then holds the key.

        Without an attempt (the caller gave no key) every call is the first. Raises Invalid when the key came with
        another request before, Unavailable when an attempt that is under way takes too long.
        """
        if attempt is None:
            return None
        query = insert(IdempotencyKey).values(
            subject=attempt.subject, rpc=attempt.rpc, key=attempt.key, fingerprint=attempt.fingerprint, created_at=now
        )
        # The update changes nothing: it waits for whoever holds the row, and then returns it.
        held = query.on_conflict_do_update(index_elements=_PRIMARY_KEY, set_={"key": attempt.key})
        found = await self._db.execute(held.returning(IdempotencyKey.fingerprint, IdempotencyKey.made_id))
        fingerprint, made_id = found.one()
        check_same_request(attempt, fingerprint)
        return made_id

    async def made(self, attempt: Attempt | None, made_id: int) -> None:
        """Note what this attempt, the first, made."""
        if attempt is not None:
            query = update(IdempotencyKey).where(_is(attempt)).values(made_id=made_id)
            await self._db.execute(query, execution_options={"synchronize_session": False})

    async def delete_old(self, *, before: datetime, limit: int) -> int:
        """Delete at most `limit` keys that first came before that time; return how many."""
        old = select(*_PRIMARY_KEY).where(IdempotencyKey.created_at < before).limit(limit)
        query = delete(IdempotencyKey).where(tuple_(*_PRIMARY_KEY).in_(old))
        result = await self._db.execute(query, execution_options={"synchronize_session": False})
        return result.rowcount if isinstance(result, CursorResult) else 0


def _is(attempt: Attempt) -> ColumnElement[bool]:
    return tuple_(*_PRIMARY_KEY) == (attempt.subject, attempt.rpc, attempt.key)
