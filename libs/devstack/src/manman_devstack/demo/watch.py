"""Watch one session as a client can: its state by asking again, its log lines by server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import httpx2

from manman.background import running
from manman_devstack.demo.failure import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from manman_devstack.demo.rest import Json, Rest
    from manman_devstack.demo.screen import Screen

ENDED = frozenset({"stopped", "crashed", "completed", "lost"})

_POLL_INTERVAL_S = 0.05
_RECONNECT_AFTER_S = 0.1
_MOST_LINES = 10_000


async def wait_for_status(
    rest: Rest,
    session_id: str,
    wanted: str,
    *,
    timeout_s: float,
    screen: Screen,
    phase: str = "",
    since: Json | None = None,
) -> Json:
    """Write every change of the session's state until it is `wanted`, and in that `phase`; return the session then.

    `since` is a state already known, which is not written again.

    Raises:
        DemoError: after `timeout_s`, or as soon as the session ended otherwise.
    """
    deadline = time.monotonic() + timeout_s
    shown = visible(since) if since else None
    while True:
        session: Json = (await rest.get(f"/v1/sessions/{session_id}"))["session"]
        if visible(session) != shown:
            shown = visible(session)
            screen.status(shown[0], shown[1])
        status = session["status"]
        if status == wanted and phase in ("", session.get("phase")):
            return session
        if status in ENDED:
            raise DemoError(f"session {session_id} should have become {wanted} but is {status}", describe(session))
        if time.monotonic() > deadline:
            waited = f"waited {timeout_s:.0f} s for session {session_id} to be {phase or wanted}"
            raise DemoError(waited, describe(session))
        await asyncio.sleep(_POLL_INTERVAL_S)


def describe(session: Json) -> list[str]:
    """Return what the session says about itself, for the end of a failure."""
    names = ("status", "status_reason", "status_message", "phase", "progress_percent", "exit_code")
    return [f"last {name.replace('_', ' ')}: {session[name]}" for name in names if session.get(name)]


def visible(session: Json) -> tuple[str, str]:
    """Return the state, and what else a person wants to see beside it."""
    status, message = session["status"], session.get("status_message", "")
    if status in ENDED:
        return status, _ending(session, message)
    parts = []
    if status in ("pending", "starting", "running") and session.get("phase"):
        parts.append(session["phase"])
        if session.get("progress_percent"):
            parts.append(f"{session['progress_percent']} %")
    if message:
        parts.append(message)
    return status, ", ".join(parts)


def _ending(session: Json, message: str) -> str:
    """Say how it ended; the exit code means something only when the game ran."""
    code = f"exit code {session.get('exit_code', 0)}" if int(session.get("started_at", 0)) else ""
    reason = f"reason {session['status_reason']}" if session.get("status_reason") else ""
    words = ", ".join(filter(None, (code, reason)))
    return words if code or not message else f"{words}: {message}"


class LogTail:
    """Every log line of one session, from its first; `follow` makes one."""

    def __init__(self, rest: Rest, session_id: str) -> None:
        """Remember whose lines to read."""
        self._rest = rest
        self._path = f"/v1/sessions/{session_id}/logs:stream"
        self._more = asyncio.Condition()
        self._last_sequence_number = 0
        self._trouble = "no line came"
        self.lines: list[str] = []

    async def wait_for(self, text: str, *, timeout_s: float, after: int = 0) -> str:
        """Return the first line, from number `after` on, that holds `text`.

        Raises:
            DemoError: there is none within `timeout_s`; it shows the last lines.
        """
        try:
            async with asyncio.timeout(timeout_s), self._more:
                while True:
                    for line in self.lines[after:]:
                        if text in line:
                            return line
                    await self._more.wait()
        except TimeoutError:
            raise DemoError(f'waited {timeout_s:.0f} s for "{text}" in the game\'s log', self.last_lines()) from None

    def last_lines(self) -> list[str]:
        """Return the last lines, or why there are none, for the end of a failure."""
        return [f"last log lines: {self._trouble}"] if not self.lines else ["last log lines:", *self.lines[-8:]]

    async def run(self) -> None:
        """Read to the end of the session's log; after a break go on behind the last line read."""
        while True:
            try:
                await self._read()
            except (DemoError, httpx2.HTTPError) as error:  # not there yet, or the API restarts
                self._trouble = str(error) or type(error).__name__
            else:
                self._trouble = "the session ended without a line"
                return
            await asyncio.sleep(_RECONNECT_AFTER_S)

    async def _read(self) -> None:
        path = f"{self._path}?after_sequence_number={self._last_sequence_number}"
        async with self._rest.events(path) as events:
            async for event in events:
                async with self._more:
                    self._last_sequence_number = int(event["sequence_number"])
                    if len(self.lines) < _MOST_LINES:
                        self.lines.append(event.get("message", ""))
                    self._more.notify_all()


@contextlib.asynccontextmanager
async def follow(rest: Rest, session_id: str) -> AsyncIterator[LogTail]:
    """Read the session's log lines in the background of the block."""
    tail = LogTail(rest, session_id)
    async with running(tail.run(), f"log-of-{session_id}"):
        yield tail
