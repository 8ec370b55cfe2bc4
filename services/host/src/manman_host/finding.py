"""What the doctor found: about what, how bad, and in words for people what to do."""

from __future__ import annotations

import dataclasses

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the doctor's. `level`: ok, warn (works, but look at it) or fail (the host would not work)."""

    about: str
    level: str
    text: str
