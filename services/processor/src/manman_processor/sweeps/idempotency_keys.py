"""An idempotency key is known if, and only if, it first came no longer ago than such keys are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman_processor.sweeps.batches import BATCH, delete_all

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, keep: timedelta) -> int:
    """Delete what is older; return how many."""
    return await delete_all(uow, lambda tx: tx.idempotency_keys.delete_old(before=now - keep, limit=BATCH))
