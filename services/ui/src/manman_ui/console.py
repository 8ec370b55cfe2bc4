"""A session's log on its way to one browser: gRPC stream in, server-sent events out, and a limit in between.

Every line is an event whose `id` is the line's sequence number, so a browser that reconnects says where it was and
misses nothing. A viewer that is too slow skips lines and is told how many; nobody else notices. Named events:

    skipped   the number of lines this viewer did not get
    ended     the log is complete (the session is over), with a word for people
    trouble   the log cannot be read now; the browser tries again
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

import structlog

from manman.errors import ManManError, NotFound
from manman.rpc.errors import RemoteFailure
from manman_ui.reading import LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from manman.v1.logs_pb2 import LogMessage
    from manman_ui.api_client import ApiClient

MAX_WAITING_LINES = 1000
"""What a viewer may be behind: as much as the page shows, so skipping loses nothing that would still be seen."""
KEEP_ALIVE_S = 15.0
BACKLOG_PAUSE_S = 0.5
BACKLOG_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class Waiting:
    """The lines between the API and one viewer: at most `limit`, then the oldest are dropped and counted."""

    def __init__(self, limit: int = MAX_WAITING_LINES) -> None:
        self._limit = limit
        self._lines: deque[LogMessage] = deque()
        self._skipped = 0
        self._arrived = asyncio.Event()
        self._last_words = ""

    def put(self, line: LogMessage) -> None:
        """Add a line; never waits."""
        self._lines.append(line)
        if len(self._lines) > self._limit:
            self._lines.popleft()
            self._skipped += 1
        self._arrived.set()

    def end(self, last_words: str) -> None:
        """Nothing more will come; `last_words` is the final event."""
        self._last_words = last_words
        self._arrived.set()

    async def events(self) -> AsyncGenerator[str, None]:
        """Yield everything that waits as one chunk, then wait again; keep-alives in silence."""
        yield "retry: 2000\n\n: open\n\n"
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._arrived.wait()
            except TimeoutError:
                yield ": still here\n\n"
                continue
            self._arrived.clear()
            lines, self._lines = self._lines, deque()
            skipped, self._skipped = self._skipped, 0
            chunk = [f"event: skipped\ndata: {skipped}\n\n"] if skipped else []
            chunk.extend(line_event(line) for line in lines)
            if chunk:
                yield "".join(chunk)
            if self._last_words:
                yield self._last_words
                return


def line_event(line: LogMessage) -> str:
    """Return a line as an event: its number as id, its time in ms, its source and its text as JSON."""
    body = json.dumps({"at": line.timestamp, "from": line.source, "text": line.message})
    return f"id: {line.sequence_number}\ndata: {body}\n\n"


def named_event(name: str, text: str) -> str:
    """Return an event that is about the stream, not a line of it."""
    return f"event: {name}\ndata: {json.dumps(text)}\n\n"


async def read(api: ApiClient, session_id: int, after: int, waiting: Waiting) -> None:
    """Fill `waiting` with the session's log after line number `after`, and end it with how the log ended."""
    try:
        waiting.end(await _read_to_the_end(api, session_id, after, waiting))
    except ManManError as error:
        log.info("log_stream_failed", session_id=session_id, error=str(error))
        waiting.end(named_event("trouble", str(error)))
    except RemoteFailure as error:
        log.warning("log_stream_failed", session_id=session_id, error=str(error))
        waiting.end(named_event("trouble", "The log service met an error of its own."))


async def _read_to_the_end(api: ApiClient, session_id: int, after: int, waiting: Waiting) -> str:
    """Return the event that says how the log ended; a live session's log has not, so the browser comes again."""
    words = "End of the log."
    try:
        async with api.log(session_id, after) as lines:
            async for line in lines:
                waiting.put(line)
    except NotFound:
        words = "The log of this session is not kept any more."
    session = await api.session(session_id)
    if session.status in LIVE:
        return named_event("trouble", "The log was interrupted.")
    return named_event("ended", words)


async def backlog(api: ApiClient, session_id: int, limit: int) -> list[LogMessage]:
    """Return the newest `limit` lines that are kept now, for people who read without scripts."""
    kept: deque[LogMessage] = deque(maxlen=limit)
    try:
        async with asyncio.timeout(BACKLOG_TIMEOUT_S), api.log(session_id, 0) as lines:
            while True:
                async with asyncio.timeout(BACKLOG_PAUSE_S):
                    kept.append(await anext(lines))
    except (TimeoutError, StopAsyncIteration):
        return list(kept)
