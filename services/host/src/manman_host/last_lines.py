"""The last lines of a game that ended, for the report of its crash: its wrapper keeps them until it is removed.

Carrying all lines to the broker is not its business (`log_shipper`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

import structlog

from manman.domain.crashes import MAX_LINES
from manman.errors import ManManError
from manman.messages.status import OutputLine, last_of
from manman_host.log_shipper import source_of

if TYPE_CHECKING:
    from manman_host.wrapper_client import WrapperClient

TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


async def last_lines(wrapper: WrapperClient, last_seq: int) -> list[OutputLine]:
    """Return the last lines up to number `last_seq` and beyond, oldest first; as many as can be had within seconds."""
    lines: deque[OutputLine] = deque(maxlen=MAX_LINES)
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            contextlib.aclosing(wrapper.output(max(0, last_seq - MAX_LINES))) as chunks,
        ):
            async for chunk in chunks:
                if chunk.data:
                    text = chunk.data.decode("utf-8", "replace")
                    lines.append(
                        OutputLine(
                            message=text,
                            timestamp=chunk.timestamp,
                            source=source_of(chunk),
                            truncated=chunk.truncated,
                        )
                    )
    except (ManManError, TimeoutError) as error:
        log.warning("last_lines_incomplete", lines=len(lines), reason=str(error) or f"more than {TIMEOUT_S:g} s")
    return last_of(list(lines))
