"""A restart is to be decided if, and only if, a deployment has a policy and its newest session ended by itself.

The decision is a row: the api starts what is due, because starting is its business. A deployment in a crash loop is
announced once. Any number of processes may sweep at once; one of them takes each deployment.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter

from manman.db.transitions import announce_crash_loop
from manman.domain.configs import MAX_RESTART_ATTEMPTS
from manman.domain.restarts import (
    OLDEST_NEWS,
    CrashLoop,
    End,
    Limits,
    Restart,
    RestartState,
    decide,
    limits_of,
)
from manman.domain.sessions import Status

if TYPE_CHECKING:
    from datetime import datetime

    from manman.db.models import Session
    from manman.db.restarts import Undecided
    from manman.db.unit_of_work import Transaction, Uow

BATCH = 200
"""Deployments decided about in one transaction."""

DECISIONS = Counter("manman_restart_decisions_total", "Decisions about sessions that ended by themselves.", ["state"])

log = structlog.get_logger(__name__)


async def sweep(uow: Uow, now: datetime, defaults: Limits) -> int:
    """Decide about every end that nobody decided about; return how many restarts and crash loops there are more."""
    async with uow() as tx:
        undecided = await tx.restarts.lock_undecided(known_after=now - OLDEST_NEWS, limit=BATCH)
        decided = [await _decide(tx, each, defaults, now) for each in undecided]
        await tx.commit()
    return sum(decided)


async def _decide(tx: Transaction, undecided: Undecided, defaults: Limits, now: datetime) -> bool:
    """Record the decision about a locked deployment; return whether there is one."""
    sessions = await tx.restarts.history(undecided.sgc_id, limit=MAX_RESTART_ATTEMPTS + 1)
    last, limits = sessions[0], limits_of(undecided.policy, defaults)
    restarted = [row.created_at for row in takewhile(lambda row: row.restart_attempt > 0, sessions)]
    match decide(undecided.policy.policy, limits, restarted, _end(last, now), now):
        case Restart(due_at, attempt):
            decision: dict[str, Any] = {"state": RestartState.WAITING, "attempt": attempt, "due_at": due_at}
        case CrashLoop(attempt, reason):
            decision = {"state": RestartState.CRASH_LOOP, "attempt": attempt, "reason": reason}
            await announce_crash_loop(tx, undecided.sgc_id, session_id=last.session_id, reason=reason, now=now)
        case None:
            return False
    await tx.restarts.decide(sgc_id=undecided.sgc_id, session_id=last.session_id, limits=limits, **decision)
    DECISIONS.labels(decision["state"].value).inc()
    log.info("restart_decided", sgc_id=undecided.sgc_id, session_id=last.session_id, **decision)
    return True


def _end(row: Session, now: datetime) -> End:
    return End(
        status=Status(row.status),
        ended_at=row.ended_at or now,
        known_at=row.last_event_at or now,
        reason=row.status_reason or "",
        stop_requested=row.stop_requested_at is not None,
        is_restart=row.restart_attempt > 0,
    )
