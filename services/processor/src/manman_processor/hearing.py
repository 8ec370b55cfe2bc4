"""Hearing: whether this process listens to the hosts, and since when.

Only who has listened for a while can call somebody silent. After a pause of ours (a restart, a broker that was away)
the hosts get two full thresholds to be heard again, else every one of them would look stale: one for the pause they
take before they look for the broker again, one to be silent in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman import clock
from manman.errors import Unavailable
from manman.health import Component

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class Hearing(Component):
    """Whether reports arrive and can be recorded, told by the consumer and by the one who works on them."""

    def __init__(self) -> None:
        """Start deaf."""
        super().__init__("events")
        self.since: datetime | None = None

    def up(self) -> None:
        """Say that reports arrive from now on."""
        if self.reason is not None or self.since is None:
            self.since = clock.now()
        super().up()

    def down(self, reason: str) -> None:
        """Say that reports do not arrive, and why."""
        self.since = None
        super().down(reason)

    async def check(self) -> None:
        """Raise `Unavailable` while reports do not arrive: the readiness check."""
        if self.reason is not None:
            raise Unavailable(self.reason)

    def has_lasted(self, span: timedelta, now: datetime) -> bool:
        """Tell whether reports have arrived without a break for at least `span`."""
        return self.since is not None and now - self.since >= span
