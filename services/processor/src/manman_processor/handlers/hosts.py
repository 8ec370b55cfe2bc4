"""What hosts say about themselves: that they are there, that they leave, and everything they run.

`last_seen` is our clock, never the host's. Every function works in the caller's transaction.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from manman.db import transitions
from manman.db.sessions import view
from manman.db.transitions import Change, announce_host
from manman.domain.hosts import HostStatus, came_back
from manman.domain.reconcile import Listed, Missing, Move, Recorded, Zombie, reconcile
from manman.domain.sessions import HOST_OFFLINE, LIVE, Status, Verdict
from manman.errors import Invalid, Problem
from manman.messages.health import MAX_INVENTORY
from manman_processor.handlers.sessions import has_other_live, stop_by_force

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from manman.db.models import Server, Session
    from manman.db.unit_of_work import Transaction
    from manman.domain.reconcile import Finding
    from manman.messages.health import Capabilities, Heartbeat, SessionInventoryItem
    from manman.messages.status import HostReported

FINDINGS = Counter(
    "manman_reconcile_findings_total", "What inventories of hosts said that events had not.", ["finding"]
)

RETURNING = timedelta(minutes=1)
"""So long after it came online a host that sends no inventory is believed to speak of its lost sessions.

It says that it is online before it says how many run.
"""

log = structlog.get_logger(__name__)


async def host_reported(tx: Transaction, report: HostReported, *, now: datetime) -> None:
    """Apply a host's `online` or `offline`.

    Raises:
        NotFound: there is no such host.
        Invalid: it says something else.

    """
    if report.status not in set(HostStatus):
        raise Invalid([Problem("status", f"a host reports online or offline, not {report.status!r}")])
    row = await tx.servers.lock(report.server_id)
    if report.status == HostStatus.ONLINE:
        _seen(tx, row, reason="reported", now=now)
        return
    row.last_seen = _later(row.last_seen, now)
    if row.status == HostStatus.ONLINE:
        row.status, row.status_since = HostStatus.OFFLINE.value, now
        announce_host(tx, row, "offline", previous=HostStatus.ONLINE, reason="reported", now=now)


async def heartbeat_received(tx: Transaction, beat: Heartbeat, *, now: datetime, grace_s: float) -> None:
    """Apply a heartbeat: the host is there, offers this, and runs exactly these sessions.

    Raises:
        NotFound: there is no such host.

    """
    row = await tx.servers.lock(beat.server_id)
    _seen(tx, row, reason="heartbeat", now=now)
    row.host_draining = beat.draining
    if beat.features and beat.features != row.features:
        row.features = list(beat.features)
    if beat.public_address:
        row.announced_address = beat.public_address
    if beat.capabilities is not None:
        before = (await tx.servers.capabilities([row.server_id])).get(row.server_id)
        kept = {} if before is None else {"available_ports": before.available_ports}  # only a registration says them
        await tx.servers.add_capability(row.server_id, now=now, values=_capability(beat.capabilities) | kept)
    if beat.sessions is not None:
        await _reconcile(tx, row.server_id, beat.sessions, now=now, grace_s=grace_s)
    elif beat.session_stats is not None and row.status_since is not None and now - row.status_since < RETURNING:
        await _recover_uncounted(tx, row.server_id, running=beat.session_stats.running, now=now)


def _seen(tx: Transaction, row: Server, *, reason: str, now: datetime) -> None:
    """Record a sign of life, and announce it if it is news."""
    row.last_seen = _later(row.last_seen, now)
    if came_back(row.status):
        previous, row.status, row.status_since = row.status, HostStatus.ONLINE.value, now
        announce_host(tx, row, "online", previous=previous, reason=reason, now=now)
        log.info("host_online", server_id=row.server_id, reason=reason)


async def _reconcile(
    tx: Transaction, server_id: int, inventory: Sequence[SessionInventoryItem], *, now: datetime, grace_s: float
) -> None:
    """Bring the recorded sessions of the host in line with its own list.

    In good weather there is nothing to do, so rows are locked, and looked at again, only when there is. The newest
    comes first: of several lost sessions of one deployment only that one can come back.
    """
    listed = [Listed(session_id=item.session_id, status=item.status) for item in inventory]
    if not await _findings(tx, server_id, listed, now=now, grace_s=grace_s, lock=False):
        return
    items = {item.session_id: item for item in inventory}
    for finding in reversed(await _findings(tx, server_id, listed, now=now, grace_s=grace_s, lock=True)):
        row = await tx.sessions.lock(finding.session_id)
        was = row.status
        if await _correct(tx, row, finding, items.get(row.session_id), now=now):
            FINDINGS.labels(type(finding).__name__.lower()).inc()
            log.warning("reconciled", server_id=server_id, session_id=row.session_id, was=was, finding=str(finding))


async def _findings(
    tx: Transaction, server_id: int, listed: Sequence[Listed], *, now: datetime, grace_s: float, lock: bool
) -> list[Finding]:
    rows = await tx.sessions.of_server(
        server_id, statuses={*LIVE, Status.LOST}, also=[item.session_id for item in listed], lock=lock
    )
    recorded = [
        Recorded(
            session_id=row.session_id,
            view=view(row, other_live=await has_other_live(tx, row)),
            last_news_at=_later(row.last_event_at, row.created_at),
        )
        for row in rows
    ]
    findings = reconcile(recorded, listed, now, grace_s)
    if len(listed) < MAX_INVENTORY:
        return findings
    return [finding for finding in findings if not isinstance(finding, Missing)]  # a full list may be cut off


async def _correct(
    tx: Transaction, row: Session, finding: Finding, item: SessionInventoryItem | None, *, now: datetime
) -> bool:
    """Act on a finding; return False when there is nothing to do yet (the host was told to stop it a moment ago)."""
    match finding:
        case Zombie():
            return await stop_by_force(tx, row, now=now)
        case Move(verdict=Verdict.RECOVER) if await has_other_live(tx, row):  # it came back a moment ago
            return await stop_by_force(tx, row, now=now)
        case Move():
            change = Change(status=finding.status, reason=finding.reason)
            if item is not None:
                change = dataclasses.replace(change, container_id=item.container_id, started_at=item.started_at)
            await transitions.apply(tx, row, change, now=now)
        case Missing():
            await transitions.apply(tx, row, Change(status=finding.status, reason=finding.reason), now=now)
    return True


async def _recover_uncounted(tx: Transaction, server_id: int, *, running: int, now: datetime) -> None:
    """Believe a returned host without inventory that its lost sessions run, if it runs at least as many."""
    rows = await tx.sessions.of_server(server_id, statuses={Status.LOST}, lock=True)
    lost = [row for row in reversed(rows) if row.lost_reason == HOST_OFFLINE and not await has_other_live(tx, row)]
    if not lost:
        return
    if running < len(lost):
        log.warning("sessions_stay_lost", server_id=server_id, lost=len(lost), running=running)
        return
    for row in lost:
        if not await has_other_live(tx, row):
            await transitions.apply(tx, row, Change(status=Status.RUNNING, reason="host_returned"), now=now)


def _capability(said: Capabilities) -> dict[str, object]:
    return {
        "total_memory_mb": said.total_memory_mb,
        "available_memory_mb": said.available_memory_mb,
        "cpu_cores": said.cpu_cores,
        "available_cpu_millicores": said.available_cpu_millicores,
        "docker_version": said.docker_version[:50] or None,
    }


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
