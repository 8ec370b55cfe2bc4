"""Samples: what a game or a machine used at one moment, many of which make a series.

Rates are made of counters where they are counted; a series is shown in steps that suit its length. Not here: where
samples come from (`manman_host.sampling`) and where they are kept (`manman.db.samples`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from manman.errors import Invalid, Problem

KEPT_STEP_S = 300
"""What is kept for long is kept as means and peaks of so many seconds."""

LONGEST_INTERVAL_S = 120
"""A host samples at least so often: what stands for KEPT_STEP_S was put together, anything shorter is as it came."""

OLDEST_TAKEN = timedelta(minutes=30)
EARLIEST_TAKEN = timedelta(minutes=1)
"""How old a sample may be when it comes, and how far ahead of us its host's clock."""

POINTS = 500
MAX_POINTS = 5000
"""So many points are shown at most unless a step is asked for, and with one."""

DEFAULT_LENGTH = timedelta(hours=1)
_STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200)
_DAY_S = 86_400


def per_second(before: float | None, after: float | None, elapsed_s: float) -> float | None:
    """Return how fast a counter rose; None when that cannot be told. It is never negative.

    A counter that fell began again at 0 in between: what it shows now has been counted since then.
    """
    if before is None or after is None or elapsed_s <= 0:
        return None
    return (after - before if after >= before else after) / elapsed_s


def is_timely(taken_at: datetime, now: datetime) -> bool:
    """Tell whether a sample may still be stored: not if it was long under way, or its host's clock is wrong."""
    return now - OLDEST_TAKEN <= taken_at <= now + EARLIEST_TAKEN


def whole_steps_before(moment: datetime) -> datetime:
    """Return the last boundary of a kept step that is not after `moment`."""
    return datetime.fromtimestamp(moment.timestamp() // KEPT_STEP_S * KEPT_STEP_S, UTC)


@dataclass(frozen=True)
class Window:
    """What of a series is shown: from `since` to before `until`, a point for each `step_s` seconds."""

    since: datetime
    until: datetime
    step_s: int


def window(since: datetime | None, until: datetime | None, step_s: int, *, now: datetime) -> Window:
    """Return what to show: by default the hour before `until`, which is by default `now`; a step of 0 is picked.

    Raises:
        Invalid: it ends before it begins, or has too many points.

    """
    until = until or now
    since = since or until - DEFAULT_LENGTH
    length_s = (until - since).total_seconds()
    if length_s <= 0:
        raise Invalid([Problem("until", "use a time after since")])
    if not step_s:
        return Window(since, until, _step(length_s))
    if length_s / step_s > MAX_POINTS:
        least_s = math.ceil(length_s / MAX_POINTS)
        text = f"use at least {least_s} for this range, or 0: an answer has at most {MAX_POINTS} points"
        raise Invalid([Problem("resolution_seconds", text)])
    return Window(since, until, step_s)


def _step(length_s: float) -> int:
    for step_s in _STEPS_S:
        if length_s / step_s <= POINTS:
            return step_s
    return math.ceil(length_s / POINTS / _DAY_S) * _DAY_S
