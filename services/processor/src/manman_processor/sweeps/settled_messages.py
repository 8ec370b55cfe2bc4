"""A message of the outbox is over if, and only if, it was published or given up longer ago than such rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

BATCH = 5000
"""Rows deleted in one transaction."""

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, keep: timedelta) -> int:
    """Delete them all, some at a time; return how many."""
    deleted = 0
    while True:
        async with uow() as tx:
            count = await tx.outbox.delete_settled(before=now - keep, limit=BATCH)
            await tx.commit()
        deleted += count
        if count < BATCH:
            return deleted
