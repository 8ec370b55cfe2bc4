"""Log lines: one message per line that a game, or the host on its behalf, wrote.

The number a viewer resumes from is the line's place in the session's stream, not `seq`, which counts the lines of one
container from 1.
"""

from __future__ import annotations

from manman.messages.body import Body, Id


class LogLine(Body, frozen=True, kw_only=True):
    """One line without its newline; `timestamp` is Unix milliseconds, `source` is stdout, stderr or host."""

    session_id: Id
    timestamp: int
    source: str
    message: str
    seq: int = 0
    stream_id: str = ""
    truncated: bool = False
