"""A daemon: one long-running program of ours, with its log and pid file, that outlives whoever started it.

Everything goes by process id plus start time, never by name, so that nothing is ever signalled that was not started
here. A daemon knows nothing about what it runs: readiness is asked by the part that owns it.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from manman_devstack.home import Home, started_at

_FREEZE_TIMEOUT_S = 10.0

# Kept so that a child which ended can be reaped, and is not reported when Python exits before it.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """Leave the children that run to themselves: they outlive us on purpose, and Python need not warn of it."""
    for child in _children.values():
        child.returncode = child.poll() or 0


class NotReadyError(RuntimeError):
    """A part did not become ready; the text ends with the last lines of its log."""


@dataclass(frozen=True)
class Daemon:
    """How to start one program; where its log and its process id are."""

    name: str
    home: Home
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    folder: Path | None = None
    inherits_environment: bool = True

    @property
    def log(self) -> Path:
        """The file with everything that it printed, appended to at each start."""
        return self.home.logs / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return running_pid(self.home, self.name)

    def start(self) -> None:
        """Start it unless it runs."""
        if self.pid is not None:
            return
        environment = {**(os.environ if self.inherits_environment else {}), **self.environment}
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                list(self.command),
                env=environment,
                cwd=self.folder or self.home.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        _children[child.pid] = child
        note_pid(self.home, self.name, child.pid)

    def wait_ready(self, check: Callable[[], bool], timeout_s: float) -> None:
        """Return when `check` says so; NotReadyError when the process ends before or time is up."""
        deadline = time.monotonic() + timeout_s
        while not check():
            if self.pid is None:
                raise NotReadyError(f"{self.name} ended while starting:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise NotReadyError(f"{self.name} was not ready after {timeout_s:g} s:\n{self.last_lines()}")
            time.sleep(0.03)

    def stop(self, sign: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> None:
        """Ask it to end, wait, and end it by force when it does not."""
        end_process(self.home, self.name, sign, timeout_s)

    def kill(self) -> None:
        """End it and its children at once (SIGKILL), and return when they are gone."""
        end_process(self.home, self.name, signal.SIGKILL, 20.0)

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to it and its children."""
        pid = self.pid
        if pid is None:
            raise RuntimeError(f"{self.name} does not run")
        for process in _family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sign)

    def freeze(self) -> None:
        """Let it and its children hang (SIGSTOP), and return when not one of their threads runs any more."""
        self.send(signal.SIGSTOP)
        deadline = time.monotonic() + _FREEZE_TIMEOUT_S
        while any(_runs(process) for process in _family(self.pid or 0)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} still runs {_FREEZE_TIMEOUT_S:g} s after SIGSTOP")
            time.sleep(0.005)

    def thaw(self) -> None:
        """End `freeze`."""
        self.send(signal.SIGCONT)

    def last_lines(self, count: int = 25) -> str:
        """Return the end of its log."""
        return last_lines(self.log, count)


def last_lines(log: Path, count: int = 25) -> str:
    """Return the end of a log file, or a note that there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return f"({log} does not exist)"


def note_pid(home: Home, name: str, pid: int) -> None:
    """Write the pid file, and beside it when the process started: a recycled number is then never mistaken for it."""
    (home.pids / f"{name}.pid").write_text(f"{pid}\n")
    home.write_note(f"{name}.process", {"pid": pid, "started_at": started_at(pid)})


def running_pid(home: Home, name: str) -> int | None:
    """Return the process id under that name if that very process still runs."""
    note = home.read_note(f"{name}.process")
    if note is None or not isinstance(note["pid"], int):
        return None
    _reap(note["pid"])
    found = started_at(note["pid"])
    return note["pid"] if found is not None and found == note["started_at"] else None


def end_process(home: Home, name: str, sign: signal.Signals, timeout_s: float) -> None:
    """End the process under that name with its children; return when all are gone and the pid file is removed."""
    pid = running_pid(home, name)
    if pid is not None:
        family = _family(pid)
        for process in family if sign == signal.SIGKILL else family[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sign)
        _, alive = _wait_gone(family, timeout_s)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_gone(alive, 10.0)
    (home.pids / f"{name}.pid").unlink(missing_ok=True)
    home.remove_note(f"{name}.process")


def names_of_processes(home: Home) -> list[str]:
    """Return the names of everything started in this home, running or not."""
    return sorted(path.name.removesuffix(".process.json") for path in home.run.glob("*.process.json"))


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_gone(family: Sequence[psutil.Process], timeout_s: float) -> tuple[list[psutil.Process], list[psutil.Process]]:
    deadline = time.monotonic() + timeout_s
    while True:
        for process in family:
            _reap(process.pid)
        alive = [process for process in family if _lives(process)]
        if not alive or time.monotonic() > deadline:
            return [process for process in family if process not in alive], alive
        time.sleep(0.02)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    """Return whether a thread of it is not stopped: each stops by itself, some time after the signal was sent."""
    try:
        threads = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # one ended while we looked
        return _lives(process)
    return any(stat.rpartition(")")[2].split()[0] not in {"T", "Z", "X"} for stat in threads)


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
