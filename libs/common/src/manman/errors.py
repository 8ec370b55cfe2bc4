"""The error family: each class says what the caller can do about it.

    ManManError
      Invalid            fix the request: it names every field and what to do
      NotFound           stop asking: there is no such thing
      AlreadyExists      use the one that is there
      Conflict           look again, then decide: the state does not allow it now
      Exhausted          choose another: somebody holds what was asked for
      Unauthenticated    say who you are
      PermissionDenied   ask somebody who may
      Unavailable        retry with back-off: a part that we need is away
      TimedOut           look before you retry: it may or may not have happened

The errors carry data, not protocol codes. They become a gRPC status in `manman.rpc.errors`,
an HTTP status in the gateway's table and an acknowledgement in `manman.bus.consumer`; nowhere
else is a status code written. Anything outside this family is a bug of ours (INTERNAL).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing wrong with a request: the field (dotted path, snake_case) and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        """Return `field: message`, the form people read."""
        return f"{self.field}: {self.message}"


class ManManError(Exception):
    """Root of the family. Its text is meant for the caller and holds no inner detail."""


class Invalid(ManManError):
    """The request cannot be right as it stands. Carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Collect `problems`; there must be at least one."""
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class NotFound(ManManError):
    """There is no `kind` with this `key` (an id or a name)."""

    def __init__(self, kind: str, key: object) -> None:
        """Name the kind of thing in the contract's words, for example `session`."""
        self.kind = kind
        self.key = key
        super().__init__(f"there is no {kind} {key}")


class AlreadyExists(ManManError):
    """A `kind` with this `key` is there already. The text holds "already exists": load scripts look for it."""

    def __init__(self, kind: str, key: object) -> None:
        """Name the thing and what it is unique by."""
        self.kind = kind
        self.key = key
        super().__init__(f"{kind} {key} already exists")


class Conflict(ManManError):
    """The state of the thing does not allow this now; `reason` tells the state and the way out."""

    def __init__(self, reason: str) -> None:
        """Give the state met and what the caller can do."""
        self.reason = reason
        super().__init__(reason)


class Exhausted(ManManError):
    """`what` was asked for and `holder` has it, or none is left (`holder` empty)."""

    def __init__(self, what: str, holder: str = "") -> None:
        """Name the resource, and who holds it when that is known."""
        self.what = what
        self.holder = holder
        super().__init__(f"{what} is held by {holder}" if holder else what)


class Unauthenticated(ManManError):
    """The caller did not prove who it is."""


class PermissionDenied(ManManError):
    """The caller is known but may not do this."""


class Unavailable(ManManError):
    """A part that this needs (database, broker, host) cannot be reached; retry with back-off."""

    def __init__(self, what: str) -> None:
        """Name the part and what was being done."""
        self.what = what
        super().__init__(what)


class TimedOut(ManManError):
    """No answer in time: the thing may or may not have happened."""

    def __init__(self, what: str) -> None:
        """Name who did not answer and after how long."""
        self.what = what
        super().__init__(what)
