"""The folder of one session, and what a host must not forget about it.

    {data}/session-{env}-{id}/      w.sock and state.json belong to the wrapper
        plan.json                   the accepted command and the wrapper's token, written before any container exists
        log.json                    number of the last line that the broker has confirmed
        answered                    its game has answered its query: from then on silence counts
        hang                        why its game is being ended, if it hangs
    {data}/sgc-{env}-{id}/          the deployment's own data, kept for ever
    {data}/.manman/host.json        who this host is

There are two views of the same folders: *inner* is what this process opens, *outer* is what the engine mounts.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import msgspec

from manman.messages.commands import StartSession

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SOCKET_NAME = "w.sock"
SOCKET_PATH_LIMIT = 107
LONGEST_SESSION_ID = 10


class Plan(msgspec.Struct, frozen=True):
    """What was accepted, and by which server: with this a restarted host goes on as if nothing had happened."""

    command: StartSession
    wrapper_token: str
    server_id: int = 0


class LogPosition(msgspec.Struct, frozen=True):
    """How far the lines of one container got."""

    container_id: str
    seq: int


class DataFolder:
    """All folders of one host and environment."""

    def __init__(self, *, inner: Path, outer: Path, environment: str) -> None:
        """Name both views; nothing is made."""
        self.inner = inner
        self.outer = outer
        self._environment = environment

    def session(self, session_id: int) -> SessionFolder:
        """Return the folder of a session; it need not exist."""
        name = "-".join(filter(None, ["session", self._environment, str(session_id)]))
        return SessionFolder(self.inner / name, self.outer / name)

    def sgc_name(self, sgc_id: int) -> str:
        """Return the name of a deployment's folder below the data folder."""
        return sgc_folder_name(self._environment, sgc_id)

    def sessions(self) -> dict[int, SessionFolder]:
        """Return the folders of sessions that are there, by the sessions' ids."""
        prefix = "-".join(filter(None, ["session", self._environment])) + "-"
        numbers = (path.name.removeprefix(prefix) for path in self.inner.glob(f"{prefix}*"))
        return {int(number): self.session(int(number)) for number in numbers if number.isdigit()}

    def forgotten(self, before: datetime) -> list[tuple[int, SessionFolder]]:
        """Return the folders of sessions that were last written to before then, with the sessions' ids."""
        found = []
        for session_id, folder in self.sessions().items():
            with contextlib.suppress(FileNotFoundError):  # its session may end just now
                if folder.inner.stat().st_mtime < before.timestamp():
                    found.append((session_id, folder))
        return found

    @property
    def host_file(self) -> Path:
        """Where this host keeps who it is."""
        return self.inner / ".manman" / "host.json"


class SessionFolder:
    """One session's folder."""

    def __init__(self, inner: Path, outer: Path) -> None:
        """Name both views of it."""
        self.inner = inner
        self.outer = outer

    @property
    def socket(self) -> Path:
        """The wrapper's socket as this process sees it."""
        return self.inner / SOCKET_NAME

    def create(self, plan: Plan) -> None:
        """Make the folder and store the plan."""
        self.inner.mkdir(parents=True, exist_ok=True)
        self.inner.chmod(0o700)
        replace_file(self.inner / "plan.json", msgspec.json.encode(plan))

    def plan(self) -> Plan | None:
        """Return the stored plan; None when there is none that can be read."""
        try:
            return msgspec.json.decode((self.inner / "plan.json").read_bytes(), type=Plan)
        except (OSError, msgspec.MsgspecError):
            return None

    def has_begun(self) -> bool:
        """Tell whether the session's wrapper wrote down how its game is."""
        return (self.inner / "state.json").exists()

    def save_log_position(self, position: LogPosition) -> None:
        """Store how far the lines got, if the disk lets us: the stream itself knows it too."""
        with contextlib.suppress(OSError):
            replace_file(self.inner / "log.json", msgspec.json.encode(position))

    def log_position(self) -> LogPosition:
        """Return how far the lines got; nothing when that is not known."""
        try:
            return msgspec.json.decode((self.inner / "log.json").read_bytes(), type=LogPosition)
        except (OSError, msgspec.MsgspecError):
            return LogPosition("", 0)

    def note_answer(self) -> None:
        """Store that the game has answered its query, if the disk lets us."""
        with contextlib.suppress(OSError):
            replace_file(self.inner / "answered", b"")

    def has_answered(self) -> bool:
        """Tell whether the game has ever answered."""
        return (self.inner / "answered").exists()

    def note_hang(self, text: str) -> None:
        """Store that the game hangs, if the disk lets us: a later life of this host takes its end for no wish."""
        with contextlib.suppress(OSError):
            replace_file(self.inner / "hang", text.encode())

    def hang(self) -> str:
        """Return what was noted; empty when nothing was."""
        try:
            return (self.inner / "hang").read_text()
        except OSError:
            return ""

    def remove(self) -> None:
        """Remove the folder with everything in it; it may be gone already."""
        shutil.rmtree(self.inner, ignore_errors=True)


def socket_path_problem(inner: Path, environment: str) -> str | None:
    """Return what to do when sockets below that folder would not fit into the kernel's limit; None when they do."""
    sample = DataFolder(inner=inner, outer=inner, environment=environment).session(10**LONGEST_SESSION_ID - 1).socket
    excess = len(str(sample).encode()) - SOCKET_PATH_LIMIT
    return (
        f"choose a folder whose path is at least {excess} bytes shorter: {sample} is too long" if excess > 0 else None
    )


def sgc_folder_name(environment: str, sgc_id: int) -> str:
    """Return the name of a deployment's folder."""
    return "-".join(filter(None, ["sgc", environment, str(sgc_id)]))


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: a reader sees the old file or the new one."""
    staging = path.with_name(path.name + ".new")
    staging.write_bytes(content)
    staging.replace(path)
