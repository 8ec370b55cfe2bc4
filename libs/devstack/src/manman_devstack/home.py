"""A home: the folder in which private instances live, with their data, logs, process ids and ports.

`make up` uses `.devstack` itself; a run of tests uses `.devstack/runs/NUMBER` and removes it at its end. A home says
nothing about what runs in it: that is for the parts (`postgres`, `rabbitmq`, ...), each of which owns one name in it.
"""

import collections
import contextlib
import fcntl
import functools
import json
import os
import random
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

# The repository: devstack is never installed anywhere else.
REPOSITORY = Path(__file__).resolve().parents[4]

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux): a client that
# keeps dialling a stopped server there can end up connected to itself, or hold the port when the server comes back.
_PORTS = range(20_000, 32_000)

# So many chosen ports stay this process's own; those chosen before them have long been listened on.
_CLAIMS = 500

# What is left for the rest of a socket's path is 50 bytes.
_LONGEST_SOCKET_FOLDER = 57


@dataclass(frozen=True)
class Home:
    """One folder of private instances."""

    path: Path

    @property
    def logs(self) -> Path:
        """Where `NAME.log` of every process is."""
        return self._folder("logs")

    @property
    def pids(self) -> Path:
        """Where `NAME.pid` of every process is."""
        return self._folder("pids")

    @property
    def run(self) -> Path:
        """Where notes about running things are: gone with them."""
        return self._folder("run")

    def data(self, name: str) -> Path:
        """Return the folder that the part of that name may fill."""
        return self._folder(name)

    def port(self, name: str, preferred: int | None = None) -> int:
        """Return the port of that name (remembered, else preferred, else free), and remember it."""
        book = self.run / "ports" / name
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(book.read_text())
        port = preferred if preferred is not None and is_free(preferred) else free_port()
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(str(port))
        return port

    def port_range(self, name: str, first: int | None = None, size: int = 100) -> str:
        """Return a range of ports for games, as `FIRST-LAST`, remembered under that name.

        Nothing can hold the whole of it free; the start of it is, and games take the lowest port first.
        """
        book = self.run / "ports" / name
        with contextlib.suppress(FileNotFoundError):
            return book.read_text()
        starts = [first] if first is not None else []
        starts += [random.randrange(10_000, 19_900) for _ in range(100)]  # noqa: S311 - nothing secret about a port
        start = next(start for start in starts if all(is_free(start + step) for step in range(5)))
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(f"{start}-{start + size - 1}")
        return book.read_text()

    def forget_port(self, name: str) -> None:
        """Let the next `port` choose anew."""
        (self.run / "ports" / name).unlink(missing_ok=True)

    def write_note(self, name: str, note: dict[str, object]) -> None:
        """Remember something about a running thing."""
        (self.run / f"{name}.json").write_text(json.dumps(note))

    def read_note(self, name: str) -> dict[str, object] | None:
        """Return what `write_note` remembered, or None."""
        try:
            note: dict[str, object] = json.loads((self.run / f"{name}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return note

    def remove_note(self, name: str) -> None:
        """Forget it."""
        (self.run / f"{name}.json").unlink(missing_ok=True)

    def short_folder(self, name: str) -> Path:
        """Return a folder for unix sockets, whose paths end at 108 bytes: in the home, or linked when that is deep."""
        folder = self.path / name
        if len(str(folder)) <= _LONGEST_SOCKET_FOLDER:
            return self._folder(name)
        if not folder.is_symlink():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(tempfile.mkdtemp(prefix="mm-", dir="/var/tmp"))
        return folder.resolve()

    def remove(self) -> None:
        """Delete the home with everything in it; the processes must have ended before."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def main_home() -> Home:
    """Return the home of `make up`."""
    return Home(REPOSITORY / ".devstack")


def is_free(port: int) -> bool:
    """Return whether a server could listen on this TCP port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens now, and that no other process of ours was given."""
    for _ in range(1000):
        port = random.choice(_PORTS)  # noqa: S311 - nothing secret about a port
        if _claim(port) and is_free(port):
            return port
    raise RuntimeError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def _claim(port: int) -> bool:
    """Take `port` for this process while it lives; return False when another one has it.

    Between choosing a port and listening on it a server takes seconds to start: without claims, two test processes that
    look at the same time can choose the same. A claim is a lock on one byte of a file, so the kernel ends it with us.
    """
    book, claimed = _claims()
    try:
        fcntl.lockf(book, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    claimed.append(port)
    if len(claimed) > _CLAIMS:
        fcntl.lockf(book, fcntl.LOCK_UN, 1, claimed.popleft())
    return True


@functools.cache
def _claims() -> tuple[int, collections.deque[int]]:
    """Return the open file of claims, and the ports that this process claimed, the oldest first."""
    path = Path(tempfile.gettempdir()) / f"manman-devstack-{os.getuid()}.ports"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), collections.deque()


def started_at(pid: int) -> float | None:
    """Return when that process started (seconds since boot of the clock psutil uses), or None when it does not run."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def write_owner(home: Home) -> None:
    """Note that the home belongs to this process and is of no use after it."""
    home.write_note("owner", {"pid": os.getpid(), "started_at": started_at(os.getpid())})


def owner_lives(home: Home) -> bool:
    """Return whether the process that `write_owner` noted, or one that is about to, still runs."""
    note = home.read_note("owner")
    if note is None:
        return home.path.name.isdecimal() and started_at(int(home.path.name)) is not None
    return isinstance(note["pid"], int) and started_at(note["pid"]) == note["started_at"]


def owned_by_us(home: Home) -> bool:
    """Return whether `write_owner` was called for the home by this very process."""
    note = home.read_note("owner")
    return note is not None and note["pid"] == os.getpid() and owner_lives(home)
