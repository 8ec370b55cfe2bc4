"""A *log view*: one viewer following one session's log, from any line on, until the session's last line.

The lines are in the session's stream on the broker; nothing is kept here. A slow viewer slows nobody: only its own
reading waits, and when the broker dropped lines meanwhile, a marker says how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING

import structlog

from manman.background import running
from manman.bus.streams import StoredLine, read_log
from manman.domain.sessions import is_live
from manman.errors import Invalid, NotFound
from manman.messages.codec import decode
from manman.messages.logs import LogLine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from manman.bus.connection import Connection
    from manman.db.unit_of_work import Uow

WAITING_BATCHES = 4
"""Batches read ahead of the viewer; a full queue stops the reading, not the stream."""

HOST = "host"

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ViewedLine:
    """A line as a viewer sees it; `timestamp_ms` is Unix milliseconds."""

    sequence_number: int
    timestamp_ms: int
    source: str
    text: str


async def follow_log(
    *, session_id: int, after_sequence_number: int, idle_s: float, uow: Uow, broker: Connection
) -> AsyncGenerator[ViewedLine]:
    """Yield the lines behind `after_sequence_number`, then those to come; end after the last line of an ended session.

    `idle_s` is the silence after which the session's state is looked at. Raises `NotFound` for an unknown session.
    """
    await _is_live(session_id, uow)
    inbox: asyncio.Queue[list[StoredLine]] = asyncio.Queue(WAITING_BATCHES)
    last = after_sequence_number
    ended = False
    async with running(_read(broker, session_id, last, inbox, idle_s), f"log-view-{session_id}"):
        while True:
            batch = await _next(inbox, idle_s)
            for line in batch:
                for viewed in _view(session_id, last, line):
                    yield viewed
                last = line.sequence_number
            if batch:
                ended = False
            elif ended:
                return
            else:
                ended = not await _is_live(session_id, uow)


async def _next(inbox: asyncio.Queue[list[StoredLine]], idle_s: float) -> list[StoredLine]:
    """Return what was read, or nothing after `idle_s` of silence."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(idle_s):
            return await inbox.get()
    return []


async def _read(
    broker: Connection, session_id: int, after: int, inbox: asyncio.Queue[list[StoredLine]], retry_s: float
) -> None:
    """Move lines from the stream to the viewer; a stream that is not there yet is waited for."""
    last = after
    while True:
        try:
            async with contextlib.aclosing(read_log(broker, session_id, after_sequence_number=last)) as batches:
                async for batch in batches:
                    await inbox.put(batch)
                    last = batch[-1].sequence_number
        except NotFound:
            await asyncio.sleep(retry_s)


async def _is_live(session_id: int, uow: Uow) -> bool:
    return is_live((await uow.reads.runs.get(session_id)).status)


def _view(session_id: int, last: int, stored: StoredLine) -> list[ViewedLine]:
    """Return the line, after a marker when lines before it are gone."""
    try:
        line = decode(LogLine, stored.body)
    except Invalid as error:
        log.warning("log_line_unreadable", session_id=session_id, reason=str(error))
        line = LogLine(session_id=session_id, timestamp=0, source=HOST, message="[one line could not be read]")
    viewed = ViewedLine(stored.sequence_number, line.timestamp, line.source, line.message)
    missing = stored.sequence_number - last - 1
    if missing <= 0:
        return [viewed]
    text = f"[{missing} lines are no longer kept]"
    return [ViewedLine(stored.sequence_number - 1, line.timestamp, HOST, text), viewed]
