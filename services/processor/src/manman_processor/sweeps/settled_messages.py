"""A message of the outbox is over if it was settled long ago, or is an event that too many newer ones follow.

Until then, published events are the log that programs catch up from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman_processor.sweeps.batches import BATCH, delete_all

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, keep: timedelta, events_kept: int) -> int:
    """Delete what is older than `keep`, and all but the newest `events_kept` events; return how many."""
    old = await delete_all(uow, lambda tx: tx.outbox.delete_settled(before=now - keep, limit=BATCH))
    return old + await delete_all(uow, lambda tx: tx.event_log.delete_oldest(keep=events_kept, limit=BATCH))
