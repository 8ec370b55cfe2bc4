"""`apply`, and `apply_in_batch`: the only writer of what a session has become.

Reports of hosts, sweeps, reconciling and the API's stop and forced start all end here, so a change and the event that
announces it can neither part nor be forgotten: both are in the caller's transaction. Deciding *whether* is not its
business (`manman.domain.sessions.judge` does that). The caller holds the row's lock. A row is a mapped object, or the
plain one of a batch (`manman.db.batch`), which the caller writes with the others at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from prometheus_client import Counter

from manman.domain.sessions import LIVE, TERMINAL, Status
from manman.identifiers import new_id
from manman.messages.external import DeploymentEvent, HostEvent, SessionEvent
from manman.messages.routing import external_deployment, external_host, external_session
from manman.messages.status import OutputLine

if TYPE_CHECKING:
    from manman.db.batch import Batch, ServerRow, SessionRow
    from manman.db.deployments import Origin
    from manman.db.models import Server, Session
    from manman.db.outbox import Additions
    from manman.db.unit_of_work import Transaction


MADE = Counter("manman_session_transitions_total", "Changes of sessions' states.", ["before", "after"])
_MADE = {(str(one), str(other)): MADE.labels(one, other) for one in Status for other in Status}

MAX_MESSAGE = 2000
"""Longer messages are cut."""

_ANNOUNCED: dict[str, str] = {
    Status.RUNNING: "running",
    Status.STOPPED: "stopped",
    Status.COMPLETED: "stopped",
    Status.CRASHED: "crashed",
    Status.LOST: "lost",
}
"""The event of each state; states that are not here are not announced. `completed` is a way of having stopped."""


_WITH_PHASE = frozenset({Status.STARTING, Status.RUNNING})
"""The states that have phases; a phase goes with its state."""


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a session. Empty and None mean "nothing known"; they never erase what is.

    `occurred_at` is when it happened as the host says, `started_at` when the game began to run; without them it is now.
    Neither is believed to be in the future or before what came first.
    """

    status: Status
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    occurred_at: datetime | None = None
    started_at: datetime | None = None
    phase: str = ""
    progress_percent: int = 0
    host_boot_id: UUID | None = None
    seq: int = 0
    container_id: str = ""
    image_digest: str = ""
    signal: int = 0
    oom_killed: bool = False
    last_lines: Sequence[OutputLine] = ()


async def apply(tx: Transaction, row: Session, change: Change, *, now: datetime) -> None:
    """Give the session its new state and put the event about it into the outbox.

    `started_at` is set once, `ended_at` on leaving the live states and cleared by a recovery.
    """
    previous = _move(row, change, now)
    if _is_news(previous, change):
        _announce(tx.outbox, row, await tx.deployments.origin(row.sgc_id), previous, now)
    if lines := _crash_lines(row, change):
        await tx.sessions.add_crash_record(row.session_id, lines)


def apply_in_batch(batch: Batch, row: SessionRow, change: Change, *, now: datetime) -> None:
    """Do the same to a plain row, which knows where it belongs: there is nothing to wait for."""
    previous = _move(row, change, now)
    if _is_news(previous, change):
        _announce(batch.outbox, row, row, previous, now)
    if lines := _crash_lines(row, change):
        batch.add_crash_record(row.session_id, lines)


def touch(row: Session | SessionRow, change: Change, *, now: datetime) -> None:
    """Record that a host spoke of the session again: time, phase, progress. Its state stays, nothing is announced."""
    if change.message:
        row.status_message = _text(change.message, MAX_MESSAGE)
    _observe(row, change, now)


def enrich(batch: Batch, row: SessionRow, change: Change) -> None:
    """Fill what is still unknown about the end of an ended session; its state and times stay."""
    if row.exit_code is None:
        row.exit_code = change.exit_code
    row.status_reason = row.status_reason or _text(change.reason, 100)
    row.status_message = row.status_message or _text(change.message, MAX_MESSAGE)
    _record_end(row, change)
    if lines := _crash_lines(row, change):
        batch.add_crash_record(row.session_id, lines)


def announce_host(
    tx: Transaction | Batch, row: Server | ServerRow, event: str, *, previous: str, reason: str, now: datetime
) -> None:
    """Put the event `online`, `offline` or `stale` of a host into the outbox."""
    event_id = new_id()
    body = HostEvent(
        server_id=row.server_id,
        status=row.status,
        event_id=event_id,
        occurred_at=now,
        previous_status=previous,
        reason=reason,
    )
    tx.outbox.add_external(routing_key=external_host(event), body=body, message_id=event_id)


async def announce_crash_loop(tx: Transaction, sgc_id: int, *, session_id: int, reason: str, now: datetime) -> None:
    """Put into the outbox that a deployment is not started again after the end of that session."""
    origin = await tx.deployments.origin(sgc_id)
    event_id = new_id()
    body = DeploymentEvent(
        sgc_id=sgc_id,
        status="crash_loop",
        event_id=event_id,
        occurred_at=now,
        server_id=origin.server_id,
        game_id=origin.game_id,
        game_config_id=origin.game_config_id,
        session_id=session_id,
        reason=reason,
    )
    tx.outbox.add_external(
        routing_key=external_deployment("crash_loop"),
        body=body,
        message_id=event_id,
        session_id=session_id,
        sgc_id=sgc_id,
    )


def _move(row: Session | SessionRow, change: Change, now: datetime) -> str:
    """Write everything into the row; return the state it was in."""
    previous = row.status
    _MADE[previous, change.status].inc()
    row.status = str(change.status)
    row.status_reason = _text(change.reason, 100)
    row.status_message = _text(change.message, MAX_MESSAGE)
    _times(row, previous, change, now)
    if change.exit_code is not None:
        row.exit_code = change.exit_code
    if change.status != previous:
        row.phase, row.progress_percent = None, 0
    _observe(row, change, now)
    _record_end(row, change)
    return previous


def _text(value: str, length: int) -> str | None:
    """Return what the column can hold; Postgres has no NUL in text."""
    if not value:
        return None
    return value.replace("\x00", "")[:length] or None


def _times(row: Session | SessionRow, previous: str, change: Change, now: datetime) -> None:
    if change.status is Status.RUNNING and row.started_at is None:
        said = change.started_at or change.occurred_at or now
        row.started_at = _between(row.created_at, said, now)
    if change.status in LIVE:
        row.ended_at = None
        if previous == Status.LOST:
            row.recovered_at = now
    elif previous in LIVE or row.ended_at is None or previous == Status.LOST:
        row.ended_at = _between(row.started_at or row.created_at, change.occurred_at or now, now)
    if change.status is Status.LOST:
        row.lost_at, row.lost_reason = now, _text(change.reason, 100)


def _between(earliest: datetime, said: datetime, latest: datetime) -> datetime:
    """Return when it happened as far as we can believe it: a host's clock may be wrong, ours sets the bounds."""
    return min(max(earliest, said), latest)


def _observe(row: Session | SessionRow, change: Change, now: datetime) -> None:
    row.last_event_at = now
    if change.phase and change.status in _WITH_PHASE:
        row.phase, row.progress_percent = _text(change.phase, 100), min(max(change.progress_percent, 0), 100)
    if change.host_boot_id is not None:
        row.host_boot_id, row.last_seq = change.host_boot_id, change.seq or None
    row.container_id = _text(change.container_id, 100) or row.container_id
    row.image_digest = _text(change.image_digest, 200) or row.image_digest


def _record_end(row: Session | SessionRow, change: Change) -> None:
    """Keep what the row holds of an end: its signal, and whether memory ran out."""
    row.exit_signal = row.exit_signal or change.signal or None
    row.oom_killed = row.oom_killed or change.oom_killed


def _crash_lines(row: Session | SessionRow, change: Change) -> list[dict[str, Any]]:
    """Return the last lines of a crash as they are stored."""
    if not change.last_lines or row.status != Status.CRASHED:
        return []
    return [_line(line) for line in change.last_lines]


def _line(line: OutputLine) -> dict[str, Any]:
    """Return a line as it is stored; Postgres has no NUL in JSON either."""
    return {
        "timestamp": line.timestamp,
        "source": line.source,
        "message": line.message.replace("\x00", ""),
        "truncated": line.truncated,
    }


def _is_news(previous: str, change: Change) -> bool:
    return change.status != previous and change.status in _ANNOUNCED


def _announce(
    outbox: Additions, row: Session | SessionRow, origin: Origin | SessionRow, previous: str, now: datetime
) -> None:
    event = _ANNOUNCED[row.status]
    event_id = new_id()
    body = SessionEvent(
        session_id=row.session_id,
        sgc_id=row.sgc_id,
        status=event,
        exit_code=row.exit_code,
        event_id=event_id,
        occurred_at=now,
        previous_status=previous,
        server_id=origin.server_id,
        game_id=origin.game_id,
        game_config_id=origin.game_config_id,
        final_status=row.status if row.status in TERMINAL else "",
        reason=row.status_reason or "",
        message=row.status_message or "",
    )
    outbox.add_external(
        routing_key=external_session(event),
        body=body,
        message_id=event_id,
        session_id=row.session_id,
        sgc_id=row.sgc_id,
    )
