"""A session is lost with its host if, and only if, it is live and its host has been offline for longer than the limit.

Until then it is shown as last known. A host that comes back tells what it runs, and lost sessions return with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.hosts import HostStatus
from manman.domain.sessions import HOST_OFFLINE, LIVE, Status

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, now: datetime, limit: timedelta) -> int:
    """Give up the live sessions of hosts that are gone for longer than `limit`; return how many."""
    async with uow() as tx:
        rows = await tx.sessions.lock_silent(
            statuses=LIVE,
            silent_since=now,
            on_hosts=HostStatus.OFFLINE,
            offline_since=now - limit,
        )
        await tx.deployments.origins({row.sgc_id for row in rows})
        for row in rows:
            change = Change(status=Status.LOST, reason=HOST_OFFLINE, message="the host does not answer any more")
            await transitions.apply(tx, row, change, now=now)
        await tx.commit()
    return len(rows)
