"""An entry of the audit log is there if, and only if, its call came no longer ago than such entries are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow

BATCH = 5000
"""Rows deleted in one transaction: none is long."""


async def sweep(uow: Uow, now: datetime, keep: timedelta) -> int:
    """Delete what is older; return how many."""
    total = 0
    while True:
        async with uow() as tx:
            deleted = await tx.audit_log.delete_old(before=now - keep, limit=BATCH)
            await tx.commit()
        total += deleted
        if deleted < BATCH:
            return total
