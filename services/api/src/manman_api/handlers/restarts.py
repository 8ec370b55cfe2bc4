"""Restarts that are due: what the processor decided is started here, because starting is the api's business.

Any number of processes may do it at once: the lock of the deployment gives each restart to one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from manman.domain.restarts import RESTARTING
from manman.errors import ManManError, TimedOut, Unavailable
from manman_api.handlers.sessions import record_start

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.db.models import DeploymentRestart
    from manman.db.unit_of_work import Transaction, Uow

BATCH = 100
"""Restarts made in one go; the next sweep makes the rest."""

log = structlog.get_logger(__name__)


async def start_due(*, timeout_s: float, patience: timedelta, now: datetime, uow: Uow) -> int:
    """Start what is due and can be; return how many restarts were made or given up.

    One whose host is away waits for it as long as `patience`. One that is refused, or in which our own code fails, is
    given up, with the reason: so would the next try be, and it would hold the others up. Raises `Unavailable` or
    `TimedOut` when nothing can be started at present.
    """
    settled = await _give_up_overdue(patience=patience, now=now, uow=uow)
    while settled < BATCH and await _settle_one(timeout_s=timeout_s, now=now, uow=uow):
        settled += 1
    return settled


async def _give_up_overdue(*, patience: timedelta, now: datetime, uow: Uow) -> int:
    reason = f"its host could not start it for {patience.total_seconds():g} s: offline, or draining"
    async with uow() as tx:
        overdue = await tx.restarts.give_up_overdue(due_before=now - patience, reason=reason)
        await tx.commit()
    return overdue


async def _settle_one(*, timeout_s: float, now: datetime, uow: Uow) -> bool:
    """Start the restart that is due for longest, or give it up; False when none is due."""
    session_id = 0
    try:
        async with uow() as tx:
            due = await tx.restarts.lock_due(now)
            if due is None:
                return False
            session_id = due.session_id
            await _start(tx, due, timeout_s=timeout_s, now=now)
            await tx.commit()
    except (Unavailable, TimedOut):
        raise
    except ManManError as refused:
        log.warning("restart_refused", session_id=session_id, reason=str(refused))
        await _give_up(session_id, f"the start was refused: {refused}", uow)
    except Exception:
        if not session_id:
            raise
        log.exception("restart_failed", session_id=session_id)
        await _give_up(session_id, "the start failed through a fault in the api: its log says more", uow)
    return True


async def _give_up(session_id: int, reason: str, uow: Uow) -> None:
    async with uow() as tx:
        await tx.restarts.give_up(session_id=session_id, reason=reason)
        await tx.commit()


async def _start(tx: Transaction, due: DeploymentRestart, *, timeout_s: float, now: datetime) -> None:
    """Start a locked deployment again, with what its last session was started with, if its policy still says so."""
    if await tx.restarts.policy(due.sgc_id) not in RESTARTING:
        await tx.restarts.forget(due.sgc_id)
        return
    last = await tx.sessions.get(due.session_id)
    session_id = await record_start(
        tx,
        deployment_id=due.sgc_id,
        parameters=last.parameters,
        force=False,
        timeout_s=timeout_s,
        now=now,
        restart_of=due,
    )
    log.info("restarted", sgc_id=due.sgc_id, session_id=session_id, restart_of=due.session_id)
