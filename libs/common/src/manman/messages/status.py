"""Status reports: what a host says about itself and about its sessions.

A report is an observation, not a decision: `manman.domain.sessions` decides what it changes. Reports arrive at least
once and may be late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from manman.domain.crashes import MAX_LINES, cut, longest_line
from manman.messages.body import Body, Id, Moment

if TYPE_CHECKING:
    from collections.abc import Sequence


class HostReported(Body, frozen=True, kw_only=True):
    """A host came (`online`) or says good-bye (`offline`)."""

    server_id: Id
    status: str


class OutputLine(Body, frozen=True, kw_only=True):
    """A line that a game, or its host, wrote; `timestamp` is Unix milliseconds, `source` stdout, stderr or host."""

    message: str
    timestamp: int = 0
    source: str = ""
    truncated: bool = False


class SessionReported(Body, frozen=True, kw_only=True):
    """What a host sees of one session.

    `sgc_id` is 0 when the host does not know it. `phase` and `progress` (percent) describe a start in preparation;
    the phase of a running session is `ready` once players can come.
    `seq` rises with every report of one `host_boot_id`. `final_status` refines `stopped` (`completed`: ended by itself,
    with code 0). `recovered` marks what was found after a restart of the host. `signal` (0: none) and `oom_killed` go
    with an end; `last_lines`, oldest first, with a crash.
    """

    session_id: Id
    status: str
    sgc_id: int = 0
    exit_code: int | None = None
    event_id: UUID | None = None
    occurred_at: Moment | None = None
    host_boot_id: UUID | None = None
    seq: int = 0
    phase: str = ""
    progress: int = 0
    reason: str = ""
    message: str = ""
    final_status: str = ""
    container_id: str = ""
    image_digest: str = ""
    started_at: Moment | None = None
    recovered: bool = False
    signal: int = 0
    oom_killed: bool = False
    last_lines: list[OutputLine] = msgspec.field(default_factory=list)


def last_of(lines: Sequence[OutputLine]) -> list[OutputLine]:
    """Return the last of these lines, cut where a report could not hold them."""
    if not lines:
        return []
    kept = lines[-MAX_LINES:]
    limit = longest_line([len(line.message.encode()) for line in kept])
    return [_within(line, limit) for line in kept]


def _within(line: OutputLine, limit_bytes: int) -> OutputLine:
    text = cut(line.message, limit_bytes)
    return line if text == line.message else msgspec.structs.replace(line, message=text, truncated=True)
