"""The census: how many hosts and sessions there are in each state, and how long the outbox has waited, as metrics.

Every replica takes it for itself, so that each tells the same; it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

from manman.domain.hosts import HostStatus
from manman.domain.sessions import LIVE, Status

if TYPE_CHECKING:
    from datetime import datetime

    from manman.db.unit_of_work import Uow

SERVERS = Gauge("manman_servers", "Hosts, by state.", ["status"])
SESSIONS = Gauge("manman_sessions", "Sessions that are live or lost, by state.", ["status"])
OLDEST_SECONDS = Gauge("manman_outbox_oldest_seconds", "Age of the oldest row of the outbox that waits, 0 without one.")

_COUNTED = sorted({*LIVE, Status.LOST})
"""Ended sessions are history, and counting them would take longer every day."""


async def take(uow: Uow, now: datetime) -> int:
    """Count and show; return 0, for nothing was changed."""
    async with uow() as tx:
        servers = await tx.servers.count_by_status()
        sessions = await tx.sessions.count_by_status(_COUNTED)
        waiting_since = await tx.outbox.waiting_since()
    for host_status in HostStatus:
        SERVERS.labels(host_status.value).set(servers.get(host_status.value, 0))
    for status in _COUNTED:
        SESSIONS.labels(status.value).set(sessions.get(status.value, 0))
    OLDEST_SECONDS.set(max(0.0, (now - waiting_since).total_seconds()) if waiting_since else 0.0)
    return 0
