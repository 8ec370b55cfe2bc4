"""A sample is kept as it came for some hours, then as a part of five minutes, and is over when those are old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.db.samples import SERVERS, SESSIONS
from manman.domain.samples import whole_steps_before
from manman_processor.sweeps.batches import BATCH, delete_all

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.samples import Series
    from manman.db.unit_of_work import Uow

OLDEST_AT_ONCE = 250
"""So many rows are sought, and each brings along the others of its five minutes: about BATCH in one transaction."""


async def sweep(uow: Uow, now: datetime, keep_raw: timedelta, keep: timedelta) -> int:
    """Put together what is older than `keep_raw`, delete what is older than `keep`; return how many rows went."""
    return sum([await _sweep(uow, series, now, keep_raw, keep) for series in (SESSIONS, SERVERS)])


async def _sweep(uow: Uow, series: Series, now: datetime, keep_raw: timedelta, keep: timedelta) -> int:
    before = whole_steps_before(now - keep_raw)
    gone = await delete_all(
        uow,
        lambda tx: tx.samples.put_together(series, before=before, limit=OLDEST_AT_ONCE),
        batch=OLDEST_AT_ONCE,
    )
    return gone + await delete_all(uow, lambda tx: tx.samples.delete_old(series, before=now - keep, limit=BATCH))
