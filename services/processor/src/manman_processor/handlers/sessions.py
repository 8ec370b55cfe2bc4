"""What hosts say about sessions, and what becomes of a command that reached nobody.

Every function works in the caller's transaction; `manman.domain.sessions` judges, `manman.db.transitions` writes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status, Verdict, judge
from manman.errors import Conflict
from manman.messages.commands import StopSession
from manman.messages.routing import command_stop
from manman.messages.status import last_of

if TYPE_CHECKING:
    from manman.db.batch import Batch, SessionRow
    from manman.db.models import Session
    from manman.db.unit_of_work import Transaction
    from manman.messages.status import SessionReported
    from manman_processor.books import Books

FORCED_STOP_PAUSE = timedelta(minutes=5)
"""A host is told to stop a session by force at most this often."""

STOP_COMMAND_LIFETIME = timedelta(minutes=5)
"""A stop by force that nobody took within this is not worth sending any more; the next finding repeats it."""

log = structlog.get_logger(__name__)


def session_reported(books: Books, report: SessionReported, *, now: datetime) -> None:
    """Apply one report of a host about a session.

    Raises:
        NotFound: there is no such session.
        Conflict: no host may say this.

    """
    row = books.session(report.session_id)
    judgement = judge(row, report, now, other_live=books.sessions.has_other_live(row))
    books.verdicts[judgement.verdict] += 1
    match judgement.verdict:
        case Verdict.GO | Verdict.RECOVER:
            transitions.apply_in_batch(books.batch, row, _change(report, judgement.status), now=now)
            books.changed[row.status].append(row.session_id)
        case Verdict.TOUCH:
            transitions.touch(row, _change(report, judgement.status), now=now)
        case Verdict.ENRICH:
            transitions.enrich(books.batch, row, _change(report, judgement.status))
        case Verdict.ZOMBIE:
            log.warning("zombie", session_id=row.session_id, why=judgement.why)
            stop_by_force(books.batch, row, server_id=row.server_id, now=now)
        case Verdict.IGNORE:
            log.debug("report_ignored", session_id=row.session_id, why=judgement.why)
        case Verdict.IMPOSSIBLE:
            raise Conflict(f"session {row.session_id}: {judgement.why}")


def stop_by_force(tx: Transaction | Batch, row: Session | SessionRow, *, server_id: int, now: datetime) -> bool:
    """Tell the session's host to end it at once; not again within five minutes. Return whether it was told."""
    if row.forced_stop_at is not None and now - row.forced_stop_at < FORCED_STOP_PAUSE:
        return False
    tx.outbox.add_command(
        routing_key=command_stop(server_id),
        body=StopSession(session_id=row.session_id, force=True, issued_at=now),
        session_id=row.session_id,
        expires_at=now + STOP_COMMAND_LIFETIME,
    )
    row.forced_stop_at = now
    return True


async def start_undeliverable(tx: Transaction, session_id: int, *, message: str, now: datetime) -> None:
    """End a session whose start command reached nobody, unless its host has spoken of it meanwhile."""
    row = await tx.sessions.lock(session_id)
    if row.status == Status.PENDING or (row.status == Status.STOPPING and row.started_at is None):
        status = Status.CRASHED if row.status == Status.PENDING else Status.STOPPED
        await transitions.apply(tx, row, Change(status=status, reason="host_unreachable", message=message), now=now)


def _change(report: SessionReported, status: Status) -> Change:
    return Change(
        status=status,
        reason=report.reason,
        message=report.message,
        exit_code=report.exit_code,
        occurred_at=report.occurred_at,
        started_at=report.started_at,
        phase=report.phase,
        progress_percent=report.progress,
        host_boot_id=report.host_boot_id,
        seq=report.seq,
        container_id=report.container_id,
        image_digest=report.image_digest,
        signal=report.signal,
        oom_killed=report.oom_killed,
        last_lines=last_of(report.last_lines),
    )
