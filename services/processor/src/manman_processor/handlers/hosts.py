"""What hosts say about themselves: that they are there, that they leave, and everything they run.

`last_seen` is our clock, never the host's. Every function works in the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from manman.db import transitions
from manman.db.transitions import Change, announce_host
from manman.domain.hosts import HostStatus, came_back, is_returning
from manman.domain.reconcile import Missing, Move, Zombie
from manman.domain.samples import is_timely
from manman.domain.sessions import HOST_OFFLINE, Status, Verdict
from manman.errors import Invalid, Problem
from manman_processor.handlers.sessions import stop_by_force

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from manman.db.batch import Batch, ServerRow, SessionRow
    from manman.domain.reconcile import Finding
    from manman.messages.health import Heartbeat, SessionInventoryItem
    from manman.messages.status import HostReported
    from manman_processor.books import Books

FINDINGS = Counter(
    "manman_reconcile_findings_total", "What inventories of hosts said that events had not.", ["finding"]
)
UNTIMELY = Counter(
    "manman_samples_untimely_total", "Samples of hosts that were not stored: too old, or from the future."
)

log = structlog.get_logger(__name__)


def host_reported(books: Books, report: HostReported, *, now: datetime) -> None:
    """Apply a host's `online` or `offline`.

    Raises:
        NotFound: there is no such host.
        Invalid: it says something else.

    """
    if report.status not in set(HostStatus):
        raise Invalid([Problem("status", f"a host reports online or offline, not {report.status!r}")])
    row = books.server(report.server_id)
    if report.status == HostStatus.ONLINE:
        _seen(books.batch, row, reason="reported", now=now)
        return
    row.last_seen = _later(row.last_seen, now)
    if row.status == HostStatus.ONLINE:
        row.status, row.status_since = HostStatus.OFFLINE.value, now
        announce_host(books.batch, row, "offline", previous=HostStatus.ONLINE, reason="reported", now=now)


def heartbeat_received(books: Books, beat: Heartbeat, *, now: datetime, grace_s: float) -> None:
    """Apply a heartbeat: the host is there, offers this, and runs exactly these sessions.

    Raises:
        NotFound: there is no such host.

    """
    row = books.server(beat.server_id)
    _seen(books.batch, row, reason="heartbeat", now=now)
    row.host_draining = beat.draining
    if beat.features:
        row.features = list(beat.features)
    if beat.public_address:
        row.announced_address = beat.public_address
    if beat.capabilities is not None:
        books.offers[row.server_id] = beat.capabilities
    if beat.sessions is not None:
        _reconcile(books, row.server_id, beat.sessions, now=now, grace_s=grace_s)
    elif beat.session_stats is not None and is_returning(row.status, row.status_since, now):
        _recover_uncounted(books, row.server_id, running=beat.session_stats.running, now=now)


def samples_received(books: Books, beat: Heartbeat, *, now: datetime) -> None:
    """Have the numbers that came with a heartbeat stored, if there are any and they are of these minutes.

    They are told apart by when they were taken, so here it is the host's clock that counts.
    """
    if beat.samples is None:
        return
    if is_timely(beat.samples.taken_at, now):
        books.samples.append((beat.server_id, beat.samples))
    else:
        UNTIMELY.inc()


def _seen(batch: Batch, row: ServerRow, *, reason: str, now: datetime) -> None:
    """Record a sign of life, and announce it if it is news."""
    row.last_seen = _later(row.last_seen, now)
    if came_back(row.status):
        previous, row.status, row.status_since = row.status, HostStatus.ONLINE.value, now
        announce_host(batch, row, "online", previous=previous, reason=reason, now=now)
        log.info("host_online", server_id=row.server_id, reason=reason)


def _reconcile(
    books: Books, server_id: int, inventory: Sequence[SessionInventoryItem], *, now: datetime, grace_s: float
) -> None:
    """Bring the recorded sessions of the host in line with its own list.

    The newest comes first: of several lost sessions of one deployment only that one can come back.
    """
    findings = books.sessions.findings(server_id, inventory, now, grace_s)
    items = {item.session_id: item for item in inventory} if findings else {}
    for finding in reversed(findings):
        row = books.session(finding.session_id)
        was = row.status
        if _correct(books, row, finding, items.get(row.session_id), now=now):
            FINDINGS.labels(type(finding).__name__.lower()).inc()
            log.warning("reconciled", server_id=server_id, session_id=row.session_id, was=was, finding=str(finding))


def _correct(
    books: Books, row: SessionRow, finding: Finding, item: SessionInventoryItem | None, *, now: datetime
) -> bool:
    """Act on a finding; return False when there is nothing to do yet (the host was told to stop it a moment ago)."""
    match finding:
        case Zombie():
            return stop_by_force(books.batch, row, server_id=row.server_id, now=now)
        case Move(verdict=Verdict.RECOVER) if books.sessions.has_other_live(row):  # it came back a moment ago
            return stop_by_force(books.batch, row, server_id=row.server_id, now=now)
        case Move():
            change = Change(
                status=finding.status,
                reason=finding.reason,
                container_id="" if item is None else item.container_id,
                started_at=None if item is None else item.started_at,
                phase="" if item is None else item.phase,
            )
            transitions.apply_in_batch(books.batch, row, change, now=now)
        case Missing():
            change = Change(status=finding.status, reason=finding.reason)
            transitions.apply_in_batch(books.batch, row, change, now=now)
    return True


def _recover_uncounted(books: Books, server_id: int, *, running: int, now: datetime) -> None:
    """Believe a returned host without inventory that its lost sessions run, if it runs at least as many."""
    rows = [row for row in reversed(books.sessions.of_server(server_id)) if row.lost_reason == HOST_OFFLINE]
    lost = [row for row in rows if row.status == Status.LOST and not books.sessions.has_other_live(row)]
    if not lost:
        return
    if running < len(lost):
        log.warning("sessions_stay_lost", server_id=server_id, lost=len(lost), running=running)
        return
    for row in lost:
        if not books.sessions.has_other_live(row):
            change = Change(status=Status.RUNNING, reason="host_returned")
            transitions.apply_in_batch(books.batch, row, change, now=now)


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
