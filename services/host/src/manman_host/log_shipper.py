"""Carries a session's lines from its wrapper to its stream on the broker, in order, each once.

A line counts as shipped when the broker has confirmed it; its number is then kept in the session's folder. After a
restart the last line that is really in the stream wins over that number, so nothing is sent twice. While the broker is
away the wrapper's tail is the buffer; what that loses shows as one line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from manman import clock
from manman.bus import topology
from manman.bus.connection import Backoff
from manman.bus.publisher import Outgoing, Publisher, Unroutable
from manman.bus.subscription import subscribe
from manman.errors import Invalid, ManManError, NotFound, Unavailable
from manman.messages import routing
from manman.messages.codec import decode, encode
from manman.messages.logs import LogLine
from manman_host.session_folder import LogPosition, SessionFolder

if TYPE_CHECKING:
    from manman.bus.connection import Connection
    from manman.v1 import wrapper_control_pb2 as pb
    from manman_host.wrapper_client import WrapperClient

MAX_WAITING = 1000
MAX_BATCH = 500
PAUSE_S = 0.2
"""A game that talks all the time has its lines sent this often, together; a line after silence goes at once."""
FIRST_BATCH_TIMEOUT_S, NEXT_BATCH_TIMEOUT_S = 2.0, 0.3
"""A stream never says that it has no more; its last chunk comes at once, and in one go."""
HOST = "host"

log = structlog.get_logger(__name__)


class LogShipper:
    """The lines of one session. `run` it in a TaskGroup; `say` adds a line of the host's own at any time."""

    def __init__(self, connection: Connection, publisher: Publisher, session_id: int, folder: SessionFolder) -> None:
        """Ship for one session; `folder` keeps how far that got."""
        self._connection = connection
        self._publisher = publisher
        self._session_id = session_id
        self._folder = folder
        self._waiting: deque[LogLine] = deque()
        self._changed = asyncio.Condition()
        self._in_flight = 0
        self.finished = asyncio.Event()

    async def say(self, text: str) -> None:
        """Add a line with source `host`. When too much waits it is dropped: it must not hold up a start or a stop."""
        if len(self._waiting) < MAX_WAITING:
            await self._put(LogLine(session_id=self._session_id, timestamp=_now_ms(), source=HOST, message=text))

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting and not self._in_flight)

    async def publish(self) -> None:
        """Send what waits, for ever, as many lines at a time as there are; between batches that are not full, pause."""
        backoff = Backoff(longest_s=5.0)
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                self._in_flight = size = len(batch)
                self._changed.notify_all()
            in_order = True
            while batch:
                batch, returned = await self._send(batch)
                in_order = in_order and not returned
                if batch:
                    await backoff.pause()
                if batch and in_order:
                    batch = await self._without_stored(batch)
            backoff.reset()
            async with self._changed:
                self._in_flight = 0
                self._changed.notify_all()
            if size < MAX_BATCH:
                await asyncio.sleep(PAUSE_S)

    async def follow(self, wrapper: WrapperClient, container_id: str, *, fresh: bool) -> None:
        """Take lines from the wrapper until the game's last one; survives the wrapper's restarts.

        `fresh` says that no line of this container can have been shipped before.
        """
        seq = 0 if fresh else await self._resume_from(container_id)
        backoff = Backoff(longest_s=5.0)
        while not self.finished.is_set():
            try:
                async with contextlib.aclosing(wrapper.output(seq)) as chunks:
                    async for chunk in chunks:
                        backoff.reset()
                        if chunk.eof:
                            self.finished.set()
                            break
                        await self._take(chunk, seq, container_id)
                        seq = chunk.seq
            except ManManError as error:
                log.info("lines_interrupted", session_id=self._session_id, reason=str(error))
                await backoff.pause()

    async def _take(self, chunk: pb.StreamOutputResponse, last: int, container_id: str) -> None:
        own = chunk.skipped_lines > 0
        gap = own and not chunk.data
        missing = 0 if own and chunk.data else chunk.seq - last - 1 + gap
        if missing > 0:
            await self._put(
                LogLine(
                    session_id=self._session_id,
                    timestamp=_now_ms(),
                    source=HOST,
                    message=f"[manman] {missing} lines are missing here: they came while this host was away",
                )
            )
        if gap:
            return
        await self._put(
            LogLine(
                session_id=self._session_id,
                timestamp=chunk.timestamp,
                source=source_of(chunk),
                message=chunk.data.decode("utf-8", "replace"),
                seq=chunk.seq,
                stream_id=container_id,
                truncated=chunk.truncated,
            )
        )

    async def _put(self, line: LogLine) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING)
            self._waiting.append(line)
            self._changed.notify_all()

    async def _send(self, batch: list[LogLine]) -> tuple[list[LogLine], bool]:
        """Send a batch; return what must be sent again, and whether some of it was returned for want of the stream.

        Lines are mandatory: for some seconds after its start the broker does not know its streams yet, and would
        confirm lines that it drops.
        """
        results = await self._publisher.publish_many([self._outgoing(line) for line in batch])
        again = [line for line, result in zip(batch, results, strict=True) if result is not None]
        sent = [line for line, result in zip(batch, results, strict=True) if result is None and line.seq]
        if sent:
            position = LogPosition(sent[-1].stream_id, sent[-1].seq)
            await asyncio.to_thread(self._folder.save_log_position, position)
        if again:
            log.warning("lines_wait", session_id=self._session_id, lines=len(again))
        returned = any(isinstance(result, Unroutable) for result in results)
        if returned:
            await self._declare_stream()
        return again, returned

    def _outgoing(self, line: LogLine) -> Outgoing:
        return Outgoing(
            exchange=routing.EXCHANGE,
            routing_key=routing.logs_session(self._session_id),
            body=encode(line),
            message_id=str(uuid4()),
            mandatory=True,
        )

    async def _declare_stream(self) -> None:
        try:
            await topology.declare_log_stream(self._connection, self._session_id)
        except ManManError as error:
            log.warning("log_stream_away", session_id=self._session_id, reason=str(error))

    async def _without_stored(self, batch: list[LogLine]) -> list[LogLine]:
        """Leave out what the broker stored before it could confirm: the stream itself knows.

        Lines that were not returned are stored in their order, so whatever has a number up to the last is there.
        """
        container_id = next((line.stream_id for line in reversed(batch) if line.stream_id), "")
        if not container_id:
            return batch
        stored = await self._last_in_stream(container_id)
        return [line for line in batch if not 0 < line.seq <= stored]

    async def _resume_from(self, container_id: str) -> int:
        """Return the number of the last line of this container that is in the stream."""
        kept = self._folder.log_position()
        known = kept.seq if kept.container_id == container_id else 0
        return max(known, await self._last_in_stream(container_id))

    async def _last_in_stream(self, container_id: str) -> int:
        stream = topology.log_stream(self._session_id)
        last = 0
        try:
            async with subscribe(
                self._connection, stream, prefetch=MAX_BATCH, arguments={"x-stream-offset": "last"}, declare=False
            ) as found:
                wait_s = FIRST_BATCH_TIMEOUT_S
                while batch := await asyncio.wait_for(found.next_batch(MAX_BATCH), wait_s):
                    wait_s = NEXT_BATCH_TIMEOUT_S
                    for message in batch:
                        line = decode(LogLine, message.body)
                        if line.stream_id == container_id:
                            last = max(last, line.seq)
                    await found.acknowledge(batch[-1], all_before=True)
        except (TimeoutError, NotFound, Unavailable, Invalid):
            return last
        return last


def source_of(chunk: pb.StreamOutputResponse) -> str:
    """Return whose words these are: the game's (stdout, stderr) or ours about lines that were dropped (host)."""
    return HOST if chunk.skipped_lines else "stderr" if chunk.is_stderr else "stdout"


def _now_ms() -> int:
    return int(clock.now().timestamp() * 1000)
