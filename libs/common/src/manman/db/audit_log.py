"""Queries about the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CursorResult, delete, select, update

from manman.db.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


class AuditLog:
    """The audit log within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def begin(
        self, *, at: datetime, subject: str, role: str, rpc: str, ids: Mapping[str, str], request_id: str
    ) -> int:
        """Write down that a call begins; returns the entry's id."""
        row = AuditEntry(at=at, subject=subject, role=role, rpc=rpc, ids=dict(ids), request_id=request_id)
        self._db.add(row)
        await self._db.flush()
        return row.entry_id

    async def end(self, entry_id: int, *, code: str, ids: Mapping[str, str]) -> None:
        """Write down how the call ended, and every id that is known by now."""
        query = update(AuditEntry).where(AuditEntry.entry_id == entry_id).values(code=code, ids=dict(ids))
        await self._db.execute(query, execution_options={"synchronize_session": False})

    async def delete_old(self, *, before: datetime, limit: int) -> int:
        """Delete at most `limit` entries of calls that came before that time; return how many."""
        old = select(AuditEntry.entry_id).where(AuditEntry.at < before).limit(limit)
        result = await self._db.execute(
            delete(AuditEntry).where(AuditEntry.entry_id.in_(old)), execution_options={"synchronize_session": False}
        )
        return result.rowcount if isinstance(result, CursorResult) else 0

    async def list(
        self,
        *,
        subject: str = "",
        rpc: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        below: int = 0,
        limit: int,
    ) -> Sequence[AuditEntry]:
        """Return entries, the newest first; `below` continues after the entry of that id."""
        query = select(AuditEntry).order_by(AuditEntry.entry_id.desc()).limit(limit)
        if subject:
            query = query.where(AuditEntry.subject == subject)
        if rpc:
            query = query.where(AuditEntry.rpc == rpc)
        if since is not None:
            query = query.where(AuditEntry.at >= since)
        if until is not None:
            query = query.where(AuditEntry.at < until)
        if below:
            query = query.where(AuditEntry.entry_id < below)
        return (await self._db.scalars(query)).all()
