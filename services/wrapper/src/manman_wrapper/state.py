"""What a wrapper must not forget: one small JSON file, replaced in one step and flushed to the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import structlog

from manman_wrapper.output import Position

if TYPE_CHECKING:
    from pathlib import Path

PENDING, STARTING, RUNNING, STOPPING, STOPPED, CRASHED = (
    "pending",
    "starting",
    "running",
    "stopping",
    "stopped",
    "crashed",
)
log = structlog.get_logger(__name__)

LIVE = frozenset({STARTING, RUNNING, STOPPING})
ENDED = frozenset({STOPPED, CRASHED})


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where the session stands. Times are Unix milliseconds, 0 meaning never; `asked_to` is stop, kill or nothing.

    `exit_code` means something once the game has ended; -1 says that nobody saw it.
    `tail_from` is where the log is read again after a restart, so that the lines kept in memory come back.
    `last_seq` is a number that had certainly been given when this was written.
    """

    session_id: int
    status: str = PENDING
    container_id: str = ""
    image_digest: str = ""
    exit_code: int = 0
    signal: int = 0
    oom_killed: bool = False
    reason: str = ""
    message: str = ""
    started_at: int = 0
    ended_at: int = 0
    asked_to: str = ""
    tail_from: Position | None = None
    last_seq: int = 0


class StateFile:
    """The file. Another session's state in it counts as none: folders are reused by nobody, but mistakes happen."""

    def __init__(self, path: Path, session_id: int) -> None:
        """Name the file; it need not exist."""
        self._path = path
        self._session_id = session_id
        self.is_behind = False

    def load(self) -> State:
        """Return what was stored, or a fresh state."""
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State(session_id=self._session_id)
        except msgspec.MsgspecError:
            self._path.replace(self._path.with_suffix(".broken"))
            return State(session_id=self._session_id)
        return state if state.session_id == self._session_id else State(session_id=self._session_id)

    def save(self, state: State) -> None:
        """Store `state`; when this returns it survives a power cut, unless `is_behind` says that it was not stored.

        A full disk must not end the wrapper: the game goes on, and has to be stopped and heard all the same.
        """
        try:
            self._replace(state)
        except OSError as error:
            if not self.is_behind:
                log.error("state_not_stored", path=str(self._path), reason=str(error))  # noqa: TRY400 - no bug of ours
            self.is_behind = True
        else:
            self.is_behind = False

    def _replace(self, state: State) -> None:
        staging = self._path.with_suffix(".new")
        with staging.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        staging.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
