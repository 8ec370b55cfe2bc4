"""The *ledger*: what must be on record after everything that was said, kept apart from the platform's own code.

It is the session machine's table and the rules around it written down a second time, as plainly as can be: rows in
memory, no database, no messages, and nothing imported from `manman`. Tests say the same thing to the platform and to a
ledger, and compare. `outbox` holds what has to leave the platform because of it, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPORTED = ("starting", "running", "stopping", "stopped", "crashed")
LIVE = ("pending", "starting", "running", "stopping")
ENDED = ("stopped", "crashed", "completed")
TABLE = {
    # on record   starting  running   stopping  stopped  crashed     <- reported
    "pending": "  go        go        go        go       go",
    "starting": " touch     go        go        go       go",
    "running": "  ignore    touch     go        go       go",
    "stopping": " ignore    ignore    touch     go       go",
    "lost": "     recover   recover   recover   go       go",
    "stopped": "  ignore    zombie    ignore    enrich   enrich",
    "crashed": "  ignore    zombie    ignore    enrich   enrich",
    "completed": "ignore    zombie    ignore    enrich   enrich",
}
ANNOUNCED = {
    "running": "running",
    "stopped": "stopped",
    "completed": "stopped",
    "crashed": "crashed",
    "lost": "lost",
}
TAIL_S = 10
"""A `running` so soon after the end is an old report."""
FORCE_PAUSE_S = 300
RETURNING_S = 60


class Leaving(NamedTuple):
    """A message that leaves: its key, the session (or host) it is about, and the previous status, or force."""

    key: str
    about: int
    detail: str


@dataclass
class Host:
    """A host as it must be on record."""

    server_id: int
    status: str = "online"
    last_seen: datetime | None = None
    since: datetime | None = None
    features: tuple[str, ...] = ()


@dataclass
class Run:
    """A session as it must be on record. `news_at`: when it was created, changed or spoken of."""

    session_id: int
    sgc_id: int
    host: Host
    created_at: datetime
    news_at: datetime
    status: str = "pending"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None
    lost_reason: str | None = None
    deadline_at: datetime | None = None
    stop_requested: bool = False
    forced_at: datetime | None = None
    boot: str | None = None
    seq: int | None = None
    phase: str | None = None
    progress: int = 0


@dataclass
class Ledger:
    """Everything on record, as of `now`."""

    now: datetime
    hosts: dict[int, Host] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    outbox: list[Leaving] = field(default_factory=list)

    def report(self, said: Mapping[str, Any]) -> bool:
        """Take a host's report about a session; False when it has to be refused."""
        run = self.runs.get(said["session_id"])
        if run is None or said["status"] not in REPORTED:
            return False
        verdict = self._verdict(run, said["status"], said.get("reason", ""))
        seq, boot = said.get("seq", 0), said.get("host_boot_id")
        known = boot is not None and boot == run.boot and run.seq is not None and 0 < seq <= run.seq
        if verdict == "enrich":
            run.exit_code = said.get("exit_code") if run.exit_code is None else run.exit_code
            run.reason, run.message = run.reason or said.get("reason"), run.message or said.get("message")
        elif known:
            return True
        elif verdict in ("go", "recover"):
            self._move(run, final_status(run, said), said)
        elif verdict == "touch":
            run.message = said.get("message") or run.message
            self._heard(run, said)
        elif verdict == "zombie":
            self._force(run)
        return True

    def host_says(self, server_id: int, status: str) -> bool:
        """Take a host's `online` or `offline`; False when it has to be refused."""
        host = self.hosts.get(server_id)
        if host is None or status not in ("online", "offline"):
            return False
        if status == "online":
            self._seen(host)
            return True
        host.last_seen = self.now
        if host.status == "online":
            host.status, host.since = "offline", self.now
            self.outbox.append(Leaving("manman.host.offline", server_id, "online"))
        return True

    def beat(
        self,
        server_id: int,
        *,
        listed: Mapping[int, tuple[str, str]] | None = None,
        running: int | None = None,
        features: tuple[str, ...] = (),
        grace_s: float = 60,
    ) -> bool:
        """Take a heartbeat, with a list of sessions, their states and phases, or only with how many are running."""
        host = self.hosts.get(server_id)
        if host is None:
            return False
        self._seen(host)
        host.features = features or host.features
        if listed is not None:
            self._reconcile(host, listed, timedelta(seconds=grace_s))
        elif running is not None:
            self._believe(host, running)
        return True

    def started(self, session_id: int, sgc_id: int, host: Host, *, force: bool, timeout_s: float) -> bool:
        """Record a start through the API as that session; False when it has to be refused."""
        live = [run for run in self._of(sgc_id) if run.status in LIVE]
        if host.status != "online" or (live and not force):
            return False
        for run in live:
            run.stop_requested = True
            self._move(run, "stopped", {"reason": "superseded"})
        deadline = self.now + timedelta(seconds=timeout_s)
        self.runs[session_id] = Run(session_id, sgc_id, host, self.now, self.now, deadline_at=deadline)
        self.outbox.append(Leaving(f"command.host.{host.server_id}.session.start", session_id, str(force)))
        return True

    def stop(self, session_id: int, *, force: bool) -> None:
        """Record a stop through the API."""
        run = self.runs[session_id]
        if run.status in ENDED or (run.status == "stopping" and not force):
            return
        run.stop_requested = True
        if self._verdict(run, "stopping", "") in ("go", "recover"):
            self._move(run, "stopping", {"reason": "stop_requested"})
        self._order_stop(run, force=force)

    def undeploy(self, sgc_id: int) -> bool:
        """Remove a deployment through the API; False while a session of it is live."""
        runs = self._of(sgc_id)
        if any(run.status in LIVE for run in runs):
            return False
        for run in reversed(runs):
            if run.status == "lost" and run.lost_reason == "host_offline":
                self._order_stop(run, force=False)
            del self.runs[run.session_id]
        return True

    def sweep_stale(self, threshold_s: float) -> None:
        """Give up hosts that are silent for longer than that."""
        for host in self.hosts.values():
            if host.status == "online" and host.last_seen is not None and self._age(host.last_seen) > threshold_s:
                host.status, host.since = "offline", self.now
                self.outbox.append(Leaving("manman.host.stale", host.server_id, "online"))

    def sweep_lost(self, limit_s: float) -> None:
        """Give up sessions whose host is offline for longer than that."""
        for run in self._sorted(LIVE):
            gone = run.host.since or run.host.last_seen
            if run.host.status == "offline" and gone and self._age(gone) > limit_s and run.news_at < self.now:
                self._move(run, "lost", {"reason": "host_offline", "message": "the host does not answer any more"})

    def sweep_overdue(self, threshold_s: float | None = None) -> None:
        """Give up what does not come on, on hosts that are there; the threshold replaces 120, 60, 180 and 120 s."""
        pending, starting, stopping, forced = (threshold_s or base for base in (120.0, 60.0, 180.0, 120.0))
        for run in self._sorted(("pending",)):
            late = run.deadline_at is None or run.deadline_at <= self.now
            if run.host.status == "online" and late and self._silence(run) > pending:
                self._give_up(run, "start_not_acknowledged", "the host did not take the start command")
        for run in self._sorted(("starting",)):
            limit = starting if "starting_heartbeat" in run.host.features else 900.0
            if run.host.status == "online" and self._silence(run) > limit:
                self._give_up(run, "start_stalled", "the host stopped reporting about the start")
        for run in self._sorted(("stopping",)):
            if run.host.status != "online" or self._silence(run) <= stopping:
                continue
            if run.forced_at is None or self._age(run.forced_at) > self._silence(run):
                self._force(run)
            elif self._age(run.forced_at) > forced:
                self._give_up(run, "stop_stalled", "the host did not stop it, not even by force")

    def undeliverable(self, session_id: int, message: str) -> None:
        """Record that the start command of a session reached nobody."""
        run = self.runs.get(session_id)
        if run is not None and (run.status == "pending" or (run.status == "stopping" and run.started_at is None)):
            status = "crashed" if run.status == "pending" else "stopped"
            self._move(run, status, {"reason": "host_unreachable", "message": message})

    def _verdict(self, run: Run, status: str, reason: str) -> str:
        verdict = TABLE[run.status].split()[REPORTED.index(status)]
        if run.status == "stopping" and status == "running" and reason == "stop_failed":
            return "go"
        if verdict == "recover" and self._place_taken(run):
            verdict = "zombie" if status == "running" else "ignore"
        if verdict == "zombie" and run.ended_at is not None and self._age(run.ended_at) < TAIL_S:
            return "ignore"
        return verdict

    def _reconcile(self, host: Host, listed: Mapping[int, tuple[str, str]], grace: timedelta) -> None:
        """Judge the list by what was on record before it, then act, the newest session first."""
        found: list[tuple[Run, str, str]] = []
        for run in sorted(self.runs.values(), key=lambda run: -run.session_id):
            if run.host is not host:
                continue
            said, _ = listed.get(run.session_id, ("", ""))
            if said in REPORTED:
                found.append((run, self._verdict(run, said, ""), said))
            elif not said and run.status not in (*ENDED, "pending") and self.now - run.news_at >= grace:
                found.append((run, "missing", "stopped" if run.status == "stopping" else "crashed"))
        for run, verdict, status in found:
            if verdict == "missing":
                self._move(run, status, {"reason": "not_found_after_recovery"})
            elif verdict == "zombie" or (verdict == "recover" and self._place_taken(run)):
                self._force(run)
            elif verdict in ("go", "recover"):
                self._move(run, status, {"reason": "reconciled", "phase": listed[run.session_id][1]})

    def _believe(self, host: Host, running: int) -> None:
        """Let sessions that were lost with a host without lists come back if it runs enough, just after its return."""
        lost = [run for run in reversed(self._sorted(("lost",))) if run.host is host]
        lost = [run for run in lost if run.lost_reason == "host_offline" and not self._place_taken(run)]
        if host.since is None or self._age(host.since) >= RETURNING_S or running < len(lost):
            return
        for run in lost:
            if not self._place_taken(run):
                self._move(run, "running", {"reason": "host_returned"})

    def _move(self, run: Run, status: str, said: Mapping[str, Any]) -> None:
        previous, run.status = run.status, status
        run.reason, run.message = said.get("reason") or None, said.get("message") or None
        if status == "running" and run.started_at is None:
            run.started_at = min(max(run.created_at, said.get("started_at") or self._when(said)), self.now)
        run.ended_at = None
        if status not in LIVE:
            run.ended_at = min(max(run.started_at or run.created_at, self._when(said)), self.now)
        if said.get("exit_code") is not None:
            run.exit_code = said["exit_code"]
        if status == "lost":
            run.lost_reason = run.reason
        if status != previous:
            run.phase, run.progress = None, 0
        self._heard(run, said)
        if status in ANNOUNCED and status != previous:
            self.outbox.append(Leaving(f"manman.session.{ANNOUNCED[status]}", run.session_id, previous))

    def _heard(self, run: Run, said: Mapping[str, Any]) -> None:
        run.news_at = self.now
        if said.get("phase") and run.status in ("starting", "running"):
            run.phase, run.progress = said["phase"], min(said.get("progress", 0), 100)
        if said.get("host_boot_id") is not None:
            run.boot, run.seq = said["host_boot_id"], said.get("seq") or None

    def _seen(self, host: Host) -> None:
        host.last_seen = self.now
        if host.status != "online":
            host.status, host.since = "online", self.now
            self.outbox.append(Leaving("manman.host.online", host.server_id, "offline"))

    def _give_up(self, run: Run, reason: str, message: str) -> None:
        self._move(run, "lost", {"reason": reason, "message": message})
        self._force(run)

    def _force(self, run: Run) -> None:
        if run.forced_at is None or self._age(run.forced_at) >= FORCE_PAUSE_S:
            run.forced_at = self.now
            self._order_stop(run, force=True)

    def _order_stop(self, run: Run, *, force: bool) -> None:
        self.outbox.append(Leaving(f"command.host.{run.host.server_id}.session.stop", run.session_id, str(force)))

    def _when(self, said: Mapping[str, Any]) -> datetime:
        when = said.get("occurred_at")
        return when if isinstance(when, datetime) else self.now

    def _of(self, sgc_id: int) -> list[Run]:
        return [run for run in self._sorted((*LIVE, *ENDED, "lost")) if run.sgc_id == sgc_id]

    def _sorted(self, statuses: Iterable[str]) -> list[Run]:
        wanted = set(statuses)
        return sorted((run for run in self.runs.values() if run.status in wanted), key=lambda run: run.session_id)

    def _place_taken(self, run: Run) -> bool:
        return any(other is not run and other.status in LIVE for other in self._of(run.sgc_id))

    def _silence(self, run: Run) -> float:
        return self._age(max(run.news_at, run.host.since or run.news_at))

    def _age(self, moment: datetime) -> float:
        return (self.now - moment).total_seconds()


def final_status(run: Run, said: Mapping[str, Any]) -> str:
    """Tell an end that nobody asked for and that went well from the others."""
    status, clean = str(said["status"]), said.get("exit_code") == 0 and not run.stop_requested
    told = status == "stopped" and said.get("final_status") == "completed"
    why = {"stopped": ("exited",), "crashed": ("exited", "")}.get(status, ())
    by_itself = clean and said.get("reason", "") in why
    return "completed" if told or by_itself else status
