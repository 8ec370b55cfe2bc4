"""A message of the outbox is over if, and only if, it was published or given up longer ago than such rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, keep: timedelta) -> int:
    """Delete them; return how many."""
    async with uow() as tx:
        deleted = await tx.outbox.delete_settled(before=now - keep)
        await tx.commit()
    return deleted
