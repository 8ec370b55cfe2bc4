"""What somebody asked for when a session is to end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manman.messages.commands import StopSession


@dataclasses.dataclass(frozen=True)
class StopWish:
    """What was asked for: a stop with its own command and grace (empty and 0: the session's), or a kill."""

    kill: bool = False
    command: str = ""
    grace_s: float = 0.0

    @classmethod
    def from_command(cls, command: StopSession) -> StopWish:
        """Read a stop command; `force` is a kill."""
        return cls(kill=command.force, command=command.stop_command, grace_s=float(command.grace_seconds))
