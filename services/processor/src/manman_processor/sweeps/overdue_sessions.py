"""A session is overdue if, and only if, it is on the way to another state and was silent for too long.

    pending   on an online host, past its start's deadline and silent
              for 120 s                                               -> lost, `start_not_acknowledged`
    starting  on an online host, silent for 60 s if that host reports
              its preparations regularly, else for 900 s              -> lost, `start_stalled`
    stopping  on an online host, silent for 180 s and for as long as
              its config lets the game take                           -> stop by force; 120 s later lost, `stop_stalled`

Silence counts from when the host came online: while it was away it could not speak.

A lost session's host is told to stop it by force, in case it does come up. Sessions on offline hosts wait for their
host (see `lost_sessions`); `running` never is overdue.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.hosts import HostStatus
from manman.domain.sessions import Status
from manman_processor.handlers.sessions import stop_by_force

if TYPE_CHECKING:
    from datetime import datetime

    from manman.db.models import Server, Session
    from manman.db.unit_of_work import Transaction, Uow

REPORTS_PREPARATION = "starting_heartbeat"
"""The feature of hosts that report every few seconds while they prepare a start."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long each state may be silent."""

    pending: timedelta = timedelta(seconds=120)
    starting: timedelta = timedelta(seconds=60)
    starting_unreported: timedelta = timedelta(seconds=900)
    stopping: timedelta = timedelta(seconds=180)
    after_forced_stop: timedelta = timedelta(seconds=120)


def limits(threshold_s: float | None) -> Limits:
    """Return the limits; a threshold replaces those of hosts that report regularly."""
    if threshold_s is None:
        return Limits()
    span = timedelta(seconds=threshold_s)
    return Limits(pending=span, starting=span, stopping=span, after_forced_stop=span)


async def sweep(uow: Uow, now: datetime, limit: Limits) -> int:
    """Deal with the overdue sessions; return how many were touched."""
    async with uow() as tx:
        touched = (
            await _give_up_pending(tx, now, limit)
            + await _give_up_starting(tx, now, limit)
            + await _push_stopping(tx, now, limit)
        )
        await tx.commit()
    return touched


async def _give_up_pending(tx: Transaction, now: datetime, limit: Limits) -> int:
    rows = await tx.sessions.lock_silent(
        statuses={Status.PENDING}, silent_since=now - limit.pending, on_hosts=HostStatus.ONLINE, past_deadline=now
    )
    for row in rows:
        await _give_up(tx, row, "start_not_acknowledged", "the host did not take the start command", now)
    return len(rows)


async def _give_up_starting(tx: Transaction, now: datetime, limit: Limits) -> int:
    rows = await tx.sessions.lock_silent(
        statuses={Status.STARTING}, silent_since=now - limit.starting, on_hosts=HostStatus.ONLINE
    )
    given_up = 0
    for row in rows:
        origin = await tx.deployments.origin(row.sgc_id)
        server = await tx.servers.get(origin.server_id)
        span = limit.starting if REPORTS_PREPARATION in server.features else limit.starting_unreported
        if now - _last_news(row, server) > span:
            await _give_up(tx, row, "start_stalled", "the host stopped reporting about the start", now)
            given_up += 1
    return given_up


async def _push_stopping(tx: Transaction, now: datetime, limit: Limits) -> int:
    rows = await tx.sessions.lock_silent(
        statuses={Status.STOPPING}, silent_since=now - limit.stopping, on_hosts=HostStatus.ONLINE
    )
    touched = 0
    for row in rows:
        origin = await tx.deployments.origin(row.sgc_id)
        last_news = _last_news(row, await tx.servers.get(origin.server_id))
        if row.forced_stop_at is None or row.forced_stop_at < last_news:  # not in this attempt to stop it
            grace = timedelta(seconds=(await tx.configs.get(origin.game_config_id)).stop_timeout_seconds)
            if now - last_news > limit.stopping + grace:
                touched += stop_by_force(tx, row, server_id=origin.server_id, now=now)
        elif now - row.forced_stop_at > limit.after_forced_stop:
            await _give_up(tx, row, "stop_stalled", "the host did not stop it, not even by force", now)
            touched += 1
    return touched


def _last_news(row: Session, server: Server) -> datetime:
    """Return when the session, or its host after an absence, was last heard of."""
    return max(filter(None, (row.last_event_at, row.created_at, server.status_since)))


async def _give_up(tx: Transaction, row: Session, reason: str, message: str, now: datetime) -> None:
    await transitions.apply(tx, row, Change(status=Status.LOST, reason=reason, message=message), now=now)
    stop_by_force(tx, row, server_id=(await tx.deployments.origin(row.sgc_id)).server_id, now=now)
