"""Reconciling: what a host's full list of sessions says that its events did not.

In good weather the answer is empty. Every other answer means that an event was lost or a host was away, and is worth a
warning. Applying the answer and asking again gives nothing but the same zombies.

Not its business: sessions that the host never announced (`pending`; a sweep with a deadline watches those) and sessions
on the host that are not recorded at all (there is no row to correct).
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from manman.domain.sessions import TERMINAL, Report, SessionView, Status, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

NOT_FOUND = "not_found_after_recovery"
"""The reason recorded for a session that its host no longer has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded session of the host. `last_news_at`: when it was created, changed or last spoken of.

    `other_live`: its deployment has another live session.
    """

    session_id: int
    view: SessionView
    last_news_at: datetime
    other_live: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One session in the host's list. `status` is any text: it comes from outside."""

    session_id: int
    status: str


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """The host sees it in another state: an event was lost. `verdict` is GO or RECOVER."""

    session_id: int
    status: Status
    verdict: Verdict
    reason: str = "reconciled"


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """The host no longer has it: `stopped` when its end was wanted, else `crashed`."""

    session_id: int
    status: Status
    reason: str = NOT_FOUND


@dataclasses.dataclass(frozen=True, slots=True)
class Zombie:
    """The host runs what is recorded as ended: have it stopped."""

    session_id: int


Finding = Move | Missing | Zombie


def reconcile(
    recorded: Iterable[Recorded], inventory: Iterable[Listed], now: datetime, grace_s: float
) -> list[Finding]:
    """Compare a complete inventory with the recorded sessions of that host.

    `recorded` holds every live and lost session of the host, and those ended ones that the inventory lists. A session
    with news younger than `grace_s` seconds is never called missing.
    """
    listed = {item.session_id: item for item in inventory}
    findings: list[Finding] = []
    for session in recorded:
        item = listed.get(session.session_id)
        finding = _missing(session, now, grace_s) if item is None else _listed(session, item, now)
        if finding is not None:
            findings.append(finding)
    return findings


def _listed(session: Recorded, item: Listed, now: datetime) -> Finding | None:
    judgement = judge(session.view, Report(status=item.status), now, other_live=session.other_live)
    if judgement.verdict is Verdict.ZOMBIE:
        return Zombie(session.session_id)
    if judgement.verdict in (Verdict.GO, Verdict.RECOVER):
        return Move(session.session_id, judgement.status, judgement.verdict)
    return None


def _missing(session: Recorded, now: datetime, grace_s: float) -> Finding | None:
    status = session.view.status
    if status in TERMINAL or status == Status.PENDING or now - session.last_news_at < timedelta(seconds=grace_s):
        return None
    return Missing(session.session_id, Status.STOPPED if status == Status.STOPPING else Status.CRASHED)
