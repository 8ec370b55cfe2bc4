"""Hearing: whether this process listens to the hosts, and since when.

Only who has listened for a while can call somebody silent. After a pause of ours (a restart, a broker that was away)
the hosts get two full thresholds to be heard again, else every one of them would look stale: one for the pause they
take before they look for the broker again, one to be silent in.

There is an ear for each queue of reports; who is deaf on one of them does not hear all hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman import clock
from manman.errors import Unavailable
from manman.health import Component

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class Hearing:
    """Whether the reports of all hosts arrive and can be recorded."""

    def __init__(self) -> None:
        """Start deaf."""
        self.since: datetime | None = None
        self._ears: list[Ear] = []

    def ear(self, name: str) -> Ear:
        """Return another ear, which is deaf until it says otherwise."""
        self._ears.append(Ear(name, self))
        self.since = None
        return self._ears[-1]

    def changed(self) -> None:
        """Look at the ears again."""
        if any(ear.reason is not None for ear in self._ears):
            self.since = None
        elif self.since is None:
            self.since = clock.now()

    async def check(self) -> None:
        """Raise `Unavailable` while reports do not arrive: the readiness check."""
        reasons = [ear.reason for ear in self._ears if ear.reason is not None]
        if reasons or not self._ears:
            raise Unavailable("; ".join(dict.fromkeys(reasons)) or "not started yet")

    def has_lasted(self, span: timedelta, now: datetime) -> bool:
        """Tell whether reports have arrived without a break for at least `span`."""
        return self.since is not None and now - self.since >= span


class Ear(Component):
    """Whether the reports of one queue arrive, told by its consumer and by the one who works on them."""

    def __init__(self, name: str, hearing: Hearing) -> None:
        """Be a part of `hearing`."""
        super().__init__(name)
        self._hearing = hearing

    def up(self) -> None:
        """Say that reports arrive from now on."""
        was_deaf = self.reason is not None
        super().up()
        if was_deaf:
            self._hearing.changed()

    def down(self, reason: str) -> None:
        """Say that reports do not arrive, and why."""
        super().down(reason)
        self._hearing.changed()
