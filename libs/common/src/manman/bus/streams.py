"""Reading a session's log stream: every line has a *sequence number*, which is its offset in the stream plus one.

So 0 means "from the first line there is", and any number a reader has seen resumes exactly behind it. A reader that
loses the broker goes on where it was; the stream itself is the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from manman.bus import topology
from manman.bus.connection import Backoff
from manman.bus.subscription import subscribe
from manman.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aio_pika.abc import AbstractIncomingMessage

    from manman.bus.connection import Connection

PREFETCH = 500
MAX_BATCH = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StoredLine:
    """One line as the stream keeps it: its number and the body of its message."""

    sequence_number: int
    body: bytes


async def read_log(
    connection: Connection, session_id: int, *, after_sequence_number: int = 0
) -> AsyncGenerator[list[StoredLine]]:
    """Yield the lines behind `after_sequence_number` in order, as many at a time as wait, and then as they come.

    Never ends by itself: close it (`contextlib.aclosing`) or be cancelled. NotFound when there is no such stream, or
    no longer. Lines that the stream dropped for age or size are skipped: the numbers show the gap.
    """
    stream = topology.log_stream(session_id)
    last = after_sequence_number
    backoff = Backoff()
    while True:
        try:
            await connection.wait_up()
            reading = subscribe(
                connection, stream, prefetch=PREFETCH, arguments={"x-stream-offset": last}, declare=False
            )
            async with reading as subscription:
                while batch := await subscription.next_batch(MAX_BATCH):
                    lines = [line for line in map(_stored, batch) if line.sequence_number > last]
                    await subscription.acknowledge(batch[-1], all_before=True)
                    backoff.reset()
                    if lines:
                        last = lines[-1].sequence_number
                        yield lines
        except NotFound:
            raise NotFound("log stream of session", session_id) from None
        except Unavailable as error:
            log.warning("log_reader_waits", session_id=session_id, reason=str(error))
        await backoff.pause()


def _stored(message: AbstractIncomingMessage) -> StoredLine:
    offset = message.headers["x-stream-offset"]
    if not isinstance(offset, int):
        raise TypeError(f"the broker sent {offset!r} as a stream offset")
    return StoredLine(offset + 1, message.body)
