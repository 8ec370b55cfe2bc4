"""A message of the outbox is over if, and only if, it was published or given up longer ago than such rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman_processor.sweeps.batches import BATCH, delete_all

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, keep: timedelta) -> int:
    """Delete what is older; return how many."""
    return await delete_all(uow, lambda tx: tx.outbox.delete_settled(before=now - keep, limit=BATCH))
