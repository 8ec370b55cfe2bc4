"""A host is stale if, and only if, it is recorded as online and was last seen longer ago than the threshold.

Our clock counts, not the host's. A stale host becomes offline and `manman.host.stale` says so. Its sessions are not
touched: nothing new is known about them. Any number of processes may sweep at once; one of them takes each host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.db.transitions import announce_host
from manman.domain.hosts import HostStatus

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, threshold: timedelta) -> int:
    """Set stale hosts offline; return how many."""
    async with uow() as tx:
        rows = await tx.servers.mark_stale(silent_since=now - threshold, now=now)
        for row in rows:
            announce_host(tx, row, "stale", previous=HostStatus.ONLINE, reason="silent", now=now)
        await tx.commit()
    return len(rows)
