"""Restarts: whether a game that ended by itself is started again, when, and when that has been tried often enough.

The answer depends on the deployment's policy, on how its last session ended, and on how often it was started again
since somebody started it. It is asked once for each end; whoever asks stores the answer and acts on it.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from manman.domain.sessions import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from manman.domain.configs import RestartPolicy

ON_CRASH, ALWAYS = "on_crash", "always"
RESTARTING = (ON_CRASH, ALWAYS)
"""The policies under which something is ever started again."""

OLDEST_NEWS = timedelta(hours=1)
"""Nothing is started again for an end that is known for longer: whoever cared has seen it by then."""

NOT_TAKEN = frozenset({"host_unreachable", "expired"})
"""Reasons of crashes in which nobody took the start. Who made it by hand was told; a restart is tried again."""

NOT_POSSIBLE = frozenset({"invalid_command"})
"""Reasons of crashes in which nobody could carry the start out, nor could anybody the next one."""

_MOST_DOUBLINGS = 20


class RestartState(StrEnum):
    """What is recorded about a deployment whose last session ended by itself."""

    WAITING = "waiting"
    """It is started again when it is due and its host can."""
    CRASH_LOOP = "crash_loop"
    """It ended too often: somebody has to look."""
    GIVEN_UP = "given_up"
    """The restart was called off, was refused, or waited too long."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often within which window, and how long the first and the longest wait are."""

    max_attempts: int = 5
    window: timedelta = timedelta(minutes=10)
    backoff: timedelta = timedelta(seconds=10)
    longest_backoff: timedelta = timedelta(minutes=5)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a session ended. `stop_requested`: somebody asked for it. `is_restart`: it was a restart itself.

    `known_at` is when the control plane heard of it: long after it happened, if its host was away.
    """

    status: Status
    ended_at: datetime
    known_at: datetime
    reason: str = ""
    stop_requested: bool = False
    is_restart: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Restart:
    """Start it again at that time; this is the `attempt`-th time in a row, from 1."""

    at: datetime
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class CrashLoop:
    """It was started again so often within the window, and ended again: leave it."""

    restarts: int
    reason: str


def limits_of(policy: RestartPolicy, defaults: Limits) -> Limits:
    """Return a policy's limits, with the defaults where it is silent."""
    backoff = timedelta(seconds=policy.backoff_s) or defaults.backoff
    return Limits(
        max_attempts=policy.max_attempts or defaults.max_attempts,
        window=timedelta(seconds=policy.window_s) or defaults.window,
        backoff=backoff,
        longest_backoff=max(backoff, defaults.longest_backoff),
    )


def decide(
    policy: str, limits: Limits, restarts: Iterable[datetime], end: End, now: datetime
) -> Restart | CrashLoop | None:
    """Answer for one end; None: it stays as it is. `restarts`: when it was started again since somebody started it."""
    if not _is_wanted(policy, end) or now - end.known_at > OLDEST_NEWS:
        return None
    recent = sum(1 for at in restarts if end.ended_at - at < limits.window)
    if recent >= limits.max_attempts:
        times = "1 restart" if recent == 1 else f"{recent} restarts"
        return CrashLoop(recent, f"crash loop: {times} within {limits.window.total_seconds():g} s")
    pause = min(limits.backoff * 2 ** min(recent, _MOST_DOUBLINGS), limits.longest_backoff)
    return Restart(max(end.ended_at + pause, now), recent + 1)


def _is_wanted(policy: str, end: End) -> bool:
    if end.stop_requested or end.reason in NOT_POSSIBLE or (end.reason in NOT_TAKEN and not end.is_restart):
        return False
    if end.status is Status.CRASHED:
        return policy in RESTARTING
    return end.status is Status.COMPLETED and policy == ALWAYS
