"""What a game used in the last hour, as a page shows it: each number now, and as a line.

Pure functions of the points of a series. A line has gaps where nothing is known; it starts at zero, and its top is the
highest value or, where there is one, the number of places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manman_ui import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manman.v1.stats_pb2 import SessionStatsPoint

LENGTH_S = 3600
STEP_S = 60
OLD_S = 3 * STEP_S
"""A number that nothing newer follows for so long is not what is used now."""

WIDTH, HEIGHT = 240, 32
GAP_STEPS = 2.5


@dataclass(frozen=True)
class Trend:
    """One number over the hour: its name, what it is now and was at most, and its line as the path of an SVG."""

    label: str
    now: str
    peak: str
    path: str


@dataclass(frozen=True)
class Usage:
    """The trends of what is known. `old_since` is when they were taken, Unix seconds, if that is long ago; else 0."""

    trends: list[Trend]
    old_since: int


def end_of(now_s: int) -> int:
    """Return where the hour ends: with the running minute, so that a line does not move every second."""
    return (now_s // STEP_S + 1) * STEP_S


def usage(points: Sequence[SessionStatsPoint], now_s: int) -> Usage | None:
    """Return what to show of a series, None when there is nothing."""
    if not points:
        return None
    end_s, limit = end_of(now_s), points[-1].memory_limit_bytes
    places = points[-1].players_max
    trends = [
        _trend("CPU", "cpu_cores", points, end_s, write=words.cores),
        _trend("Memory", "memory_bytes", points, end_s, write=words.size, of=words.size(limit) if limit else ""),
        _trend("Players", "players", points, end_s, write=words.count, of=str(places or ""), top=places),
    ]
    at = points[-1].at
    return Usage([trend for trend in trends if trend is not None], at if now_s - at > OLD_S else 0)


def _trend(
    label: str,
    field: Literal["cpu_cores", "memory_bytes", "players"],
    points: Sequence[SessionStatsPoint],
    end_s: int,
    *,
    write: Callable[[float], str],
    of: str = "",
    top: float = 0,
) -> Trend | None:
    known = [(point.at, getattr(point, field)) for point in points if point.HasField(field)]
    if not known:
        return None
    peak = max(*(value for _, value in known), *(getattr(point, f"{field}_peak") for point in points))
    last = write(known[-1][1]) if points[-1].HasField(field) else "unknown"
    is_of = of and last != "unknown"
    return Trend(label, f"{last} of {of}" if is_of else last, write(peak), _path(known, end_s, max(peak, top)))


def _path(known: Sequence[tuple[int, float]], end_s: int, top: float) -> str:
    parts, before = [], None
    for at, value in known:
        x = WIDTH * (1 - (end_s - at) / LENGTH_S)
        y = HEIGHT * (1 - value / top) if top else HEIGHT
        goes_on = before is not None and at - before <= GAP_STEPS * STEP_S
        parts.append(f"L{x:.1f} {y:.1f}" if goes_on else f"M{x:.1f} {y:.1f}h0")  # h0: a dot, if it stays alone
        before = at
    return " ".join(parts)
