"""What somebody asked for when a session is to end."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from manman import tracing

if TYPE_CHECKING:
    from manman.messages.commands import StopSession


@dataclasses.dataclass(frozen=True)
class StopWish:
    """What was asked for: a stop with its own command and grace (empty and 0: the session's), or a kill.

    `kept` is set when nothing is lost if this host dies: the wrapper has written it down, or there is no more to do.
    `trace` is the span of who asked.
    """

    kill: bool = False
    command: str = ""
    grace_s: float = 0.0
    kept: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, compare=False)
    trace: str | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def from_command(cls, command: StopSession) -> StopWish:
        """Read a stop command; `force` is a kill."""
        return cls(
            kill=command.force,
            command=command.stop_command,
            grace_s=float(command.grace_seconds),
            trace=tracing.current(),
        )
