"""Queries about API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, or_, select, update

from manman.db.models import ApiToken
from manman.db.reading import Read
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.reading import Reader

LAST_USED_EVERY = timedelta(minutes=1)
"""How exactly a token's last use is known: it is written at most this often."""


class ApiTokens:
    """API tokens within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

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

    async def mark_used(self, token_id: int, *, now: datetime) -> None:
        """Note that the token was used, unless another call noted that within the last minute."""
        await self._db.execute(
            update(ApiToken)
            .where(
                ApiToken.token_id == token_id,
                or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - LAST_USED_EVERY),
            )
            .values(last_used_at=now),
            execution_options={"synchronize_session": False},
        )


_ONE = Read(select(ApiToken).where(ApiToken.token_id == bindparam("token_id")))


class ApiTokenReads:
    """API tokens as every call that brings one asks for them."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    async def find(self, token_id: int) -> ApiToken | None:
        """Return the token of that id."""
        found = await self._reader.first(_ONE, token_id=token_id)
        return found[0] if found else None


def is_use_to_be_noted(row: ApiToken, now: datetime) -> bool:
    """Tell whether the last use that was noted is longer ago than a minute: noting each would write with every read."""
    return row.last_used_at is None or row.last_used_at <= now - LAST_USED_EVERY
