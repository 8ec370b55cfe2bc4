"""The session machine: what a report changes, given what is recorded.

A host reports what it sees; reports may be late, doubled or contradict what was decided meanwhile. `judge` answers for
every (recorded state, reported state) with one verdict. It does not write: `manman.db.transitions` does. What it judges
are the row and the message themselves, as far as it looks at them: it is asked by the thousand.

    pending    row created, the host has not spoken yet      stopped    ended on request
    starting   the host prepares                             crashed    failed start or abnormal end
    running                                                  completed  ended by itself, cleanly
    stopping                                                 lost       given up; the container may still run
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


class Status(StrEnum):
    """The eight recorded states of a session."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CRASHED = "crashed"
    COMPLETED = "completed"
    LOST = "lost"


LIVE = frozenset({Status.PENDING, Status.STARTING, Status.RUNNING, Status.STOPPING})
"""A deployment has at most one session in these states."""

TERMINAL = frozenset({Status.STOPPED, Status.CRASHED, Status.COMPLETED})
"""These never change again. `lost` is in neither set: it may come back."""

REPORTABLE = frozenset({Status.STARTING, Status.RUNNING, Status.STOPPING, Status.STOPPED, Status.CRASHED})
"""What a host may report. The other states are decided by the control plane alone."""

HOST_OFFLINE = "host_offline"
"""Why a session is lost whose host was away for too long: it may well run on."""

HUNG = "hung"
"""Why a session crashed that did not answer any more: its host ended it."""

ZOMBIE_GRACE = timedelta(seconds=10)
"""A `running` this soon after the end is the tail of an old report, not a game that still runs."""


class Verdict(StrEnum):
    """What to do with a report."""

    GO = "go"
    """Write the new state and announce it."""
    TOUCH = "touch"
    """The state is known: refresh the time of the last report, phase and progress only."""
    IGNORE = "ignore"
    """Late or doubled: nothing to write."""
    RECOVER = "recover"
    """A lost session is back: write, clear the end, announce."""
    ENRICH = "enrich"
    """It ended already: fill what is still unknown about the end, announce nothing."""
    ZOMBIE = "zombie"
    """The host runs what has ended: do not resurrect it, have it stopped."""
    IMPOSSIBLE = "impossible"
    """No host may say this: refuse the message."""


class SessionView(Protocol):
    """What is recorded about a session, as far as a judgement needs it: a row of `sessions` is one."""

    @property
    def status(self) -> str:
        """One of `Status`."""
        ...

    @property
    def ended_at(self) -> datetime | None:
        """When it left the live states."""
        ...

    @property
    def stop_requested_at(self) -> datetime | None:
        """When a person or a rule asked for its end."""
        ...

    @property
    def host_boot_id(self) -> UUID | None:
        """The boot of the host from which the last report came that was taken."""
        ...

    @property
    def last_seq(self) -> int | None:
        """The number of that report."""
        ...


class ReportView(Protocol):
    """What a host said, as far as a judgement needs it: `manman.messages.status.SessionReported` is one."""

    @property
    def status(self) -> str:
        """Any text: it comes from outside."""
        ...

    @property
    def exit_code(self) -> int | None:
        """The code that the game ended with."""
        ...

    @property
    def reason(self) -> str:
        """A word for why."""
        ...

    @property
    def final_status(self) -> str:
        """What refines `stopped`."""
        ...

    @property
    def host_boot_id(self) -> UUID | None:
        """The boot of the host, which numbers its reports."""
        ...

    @property
    def seq(self) -> int:
        """The number; 0 is none."""
        ...


class Report(NamedTuple):
    """What is judged like a report although no message said it: a line of an inventory, a person's wish."""

    status: str
    exit_code: int | None = None
    reason: str = ""
    final_status: str = ""
    host_boot_id: UUID | None = None
    seq: int = 0


class Judgement(NamedTuple):
    """The verdict, the state the row has afterwards, and why the state stays if it does (for logs, dead letters)."""

    verdict: Verdict
    status: Status
    why: str = ""


def judge(row: SessionView, report: ReportView, now: datetime, *, other_live: bool = False) -> Judgement:
    """Answer for one report of a host about one session. Total: every pair of states has an answer.

    `other_live`: the session's deployment has another live session.
    """
    recorded, reported = _STATUSES[row.status], _STATUSES.get(report.status)
    if reported not in REPORTABLE:
        allowed = ", ".join(sorted(REPORTABLE))
        return Judgement(Verdict.IMPOSSIBLE, recorded, f"a host reports one of {allowed}, not {report.status!r}")
    verdict = _verdict(row, report, recorded, reported, now, other_live=other_live)
    if _is_known(row, report) and verdict is not Verdict.ENRICH:
        return Judgement(Verdict.IGNORE, recorded, f"report {report.seq} came again or late, after {row.last_seq}")
    if verdict in _MOVING:
        return Judgement(verdict, _status_to_store(row, report, reported))
    return Judgement(verdict, recorded, f"{reported} reported while {recorded}")


def judge_loss(row: SessionView) -> Judgement:
    """Answer for a sweep that gives a session up: the column `lost` of the table."""
    recorded = _STATUSES[row.status]
    if recorded in LIVE:
        return Judgement(Verdict.GO, Status.LOST)
    verdict = Verdict.TOUCH if recorded is Status.LOST else Verdict.IGNORE
    return Judgement(verdict, recorded, f"given up while {recorded}")


def is_live(status: str) -> bool:
    """Tell whether a session in this state occupies its deployment."""
    return status in LIVE


_STATUSES: dict[str, Status] = {status.value: status for status in Status}
"""The states by their text; calling the class does the same in ten times the time."""

_MOVING = frozenset({Verdict.GO, Verdict.RECOVER})
_GO, _TOUCH, _IGNORE = Verdict.GO, Verdict.TOUCH, Verdict.IGNORE
_RECOVER, _ENRICH, _ZOMBIE = Verdict.RECOVER, Verdict.ENRICH, Verdict.ZOMBIE
_REPORTED = (Status.STARTING, Status.RUNNING, Status.STOPPING, Status.STOPPED, Status.CRASHED)
_ENDED = (_IGNORE, _ZOMBIE, _IGNORE, _ENRICH, _ENRICH)

_TABLE: dict[Status, tuple[Verdict, ...]] = {
    # recorded          starting  running   stopping  stopped  crashed   <- reported
    Status.PENDING: (_GO, _GO, _GO, _GO, _GO),
    Status.STARTING: (_TOUCH, _GO, _GO, _GO, _GO),
    Status.RUNNING: (_IGNORE, _TOUCH, _GO, _GO, _GO),
    Status.STOPPING: (_IGNORE, _IGNORE, _TOUCH, _GO, _GO),
    Status.LOST: (_RECOVER, _RECOVER, _RECOVER, _GO, _GO),
    Status.STOPPED: _ENDED,
    Status.CRASHED: _ENDED,
    Status.COMPLETED: _ENDED,
}


def _verdict(
    row: SessionView, report: ReportView, recorded: Status, reported: Status, now: datetime, *, other_live: bool
) -> Verdict:
    """Look the pair up, then apply the three exceptions that need more than the two states; GO has none."""
    verdict = _TABLE[recorded][_REPORTED.index(reported)]
    if verdict is Verdict.GO:
        return verdict
    if recorded is Status.STOPPING and reported is Status.RUNNING and report.reason == "stop_failed":
        return Verdict.GO
    if verdict is Verdict.RECOVER and other_live:  # its place is taken: treat it as ended
        verdict = Verdict.ZOMBIE if reported is Status.RUNNING else Verdict.IGNORE
    if verdict is Verdict.ZOMBIE and row.ended_at is not None and now - row.ended_at < ZOMBIE_GRACE:
        return Verdict.IGNORE
    return verdict


def _is_known(row: SessionView, report: ReportView) -> bool:
    """Tell whether the report is the last one taken, once more, or one from before it: they are numbered."""
    if not 0 < report.seq <= (row.last_seq or 0):
        return False
    return report.host_boot_id is not None and report.host_boot_id == row.host_boot_id


_EXITED = frozenset({"", "exited"})
"""What hosts give as the reason when a game ended by itself; any other word says more than an exit code of 0."""


def _status_to_store(row: SessionView, report: ReportView, reported: Status) -> Status:
    """Tell a clean end by itself (`completed`) from an end on request or a crash."""
    by_itself = report.exit_code == 0 and row.stop_requested_at is None
    if reported is Status.STOPPED and (
        report.final_status == Status.COMPLETED or (report.reason == "exited" and by_itself)
    ):
        return Status.COMPLETED
    if reported is Status.CRASHED and by_itself and report.reason in _EXITED:
        return Status.COMPLETED  # some hosts call every end by itself a crash
    return reported
