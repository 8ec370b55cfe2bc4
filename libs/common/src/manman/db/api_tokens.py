"""Queries about API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from manman.db.models import ApiToken
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

LAST_USED_EVERY = timedelta(minutes=1)
"""How exactly a token's last use is known: it is written at most this often."""


class ApiTokens:
    """API tokens within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def find(self, token_id: int) -> ApiToken | None:
        """Return the token of that id."""
        return await self._db.get(ApiToken, token_id)

    async def list(self, *, limit: int, offset: int) -> Sequence[ApiToken]:
        """Return tokens by id, expired and revoked ones too."""
        return (await self._db.scalars(select(ApiToken).order_by(ApiToken.token_id).limit(limit).offset(offset))).all()

    async def add(self, *, name: str, role: str, secret_hash: bytes, expires_at: datetime | None) -> ApiToken:
        """Insert a token."""
        row = ApiToken(name=name, role=role, secret_hash=secret_hash, expires_at=expires_at)
        self._db.add(row)
        await self._db.flush()
        return row

    async def revoke(self, token_id: int, *, now: datetime) -> ApiToken:
        """Revoke the token; one that was revoked before keeps that time. Raise `NotFound`."""
        query = select(ApiToken).where(ApiToken.token_id == token_id).with_for_update()
        row = await self._db.scalar(query)
        if row is None:
            raise NotFound("API token", token_id)
        row.revoked_at = row.revoked_at or now
        await self._db.flush()
        return row

    async def mark_used(self, row: ApiToken, *, now: datetime) -> bool:
        """Note that the token was used, unless that was noted within the last minute; tell whether it was noted."""
        stale = now - LAST_USED_EVERY
        if row.last_used_at is not None and row.last_used_at > stale:
            return False
        await self._db.execute(
            update(ApiToken)
            .where(
                ApiToken.token_id == row.token_id,
                or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= stale),
            )
            .values(last_used_at=now),
            execution_options={"synchronize_session": False},
        )
        return True
