"""`make bench-host`: what a session costs beside a bare container, and what many of them take.

The real api, processor, host and Docker engine, with the settings that they are shipped with. A start through ManMan
and a bare `docker run` of the same image take turns, so that other load on the machine meets both; then many sessions
are started, looked at and stopped at once. The figures go to docs/performance.md.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from manman_devstack.bench import page
from manman_devstack.bench.figures import spread
from manman_devstack.bench.host_ground import prepared
from manman_devstack.bench.host_measures import MILESTONES, WATCH_S, many, one_life, wrapper_start_s
from manman_devstack.talking_game import LINES_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman_devstack.bench.figures import Memory
    from manman_devstack.bench.host_measures import Life, Many

NAME = "bench-host"
ROUNDS = 15
MEBI = 1024 * 1024

_PACKAGES = ("grpcio", "protobuf", "docker", "aio-pika")


@dataclass(frozen=True)
class Found:
    """Everything that was measured; `engine` is the Docker engine's version."""

    lives: list[Life]
    wrapper_starts_s: list[float]
    many: Many
    engine: str


def run(sessions: int) -> int:
    """Measure with so many `sessions` at once, print the result and write it into docs/performance.md."""
    began = time.monotonic()
    load_before, _, _ = os.getloadavg()
    found = asyncio.run(_measured(sessions))
    text = report(found, load_before)
    page.replace_section(NAME, text)
    print(f"\n{text}\n\nwritten to {page.PAGE.name} after {time.monotonic() - began:.0f} s")
    return 0


def report(found: Found, load_before: float) -> str:
    """Return the section of the page. `load_before` is the machine's load average without the benchmark."""
    crowd = found.many
    method = (
        f"{ROUNDS} rounds. Other work on the machine, as its load average before: {load_before:.1f}. "
        f"Memory: {_mb(psutil.virtual_memory().total):,.0f} MB."
    )
    room = crowd.available_bytes / (crowd.taken_bytes / crowd.count)
    taken_mb = _mb(crowd.taken_bytes) / crowd.count
    at_once = (
        f"**{crowd.count} sessions at once**: {_times(crowd)}. Each took {taken_mb:.1f} MB of what the machine had "
        f"available, games and the engine's own processes included; {_mb(crowd.available_bytes):,.0f} MB were left, "
        f"enough for about {room:,.0f} more. While all talked, the broker stored "
        f"{crowd.talking.lines_per_s:,.0f} lines a second; all {crowd.lines:,} lines were there after "
        f"{crowd.all_stored_s:.0f} s; the games needed {crowd.lines / crowd.count / LINES_PER_S:.0f} s to say them."
    )
    return "\n\n".join(
        [
            f"{page.circumstances(_PACKAGES, f'Docker {found.engine}')} {method}",
            page.table(("One at a time, seconds", "p50", "p90", "longest"), _one_at_a_time(found)),
            at_once,
            page.table(
                (f"{crowd.count} at once, % of a core", "idle", f"{LINES_PER_S} lines/s each"), _processor_time(crowd)
            ),
            page.table(("Memory, MB", "RSS", "PSS", "PSS after talking"), _memory(crowd)),
            page.table(("Goal", "bar", "measured"), _goals(found)),
        ]
    )


def _one_at_a_time(found: Found) -> list[tuple[str, ...]]:
    lives = found.lives
    rows: list[tuple[str, Sequence[float]]] = [
        ("bare `docker run`: the game runs", [life.bare_s for life in lives]),
        ("StartSession: answered", [life.answered_s for life in lives]),
        *((f"StartSession: {name}", [life.reached_s[name] for life in lives]) for name in MILESTONES),
        ("running, over the bare run of the same round", _overheads_s(found)),
        ("StopSession: stopped", [life.stopped_s for life in lives]),
        ("a wrapper by itself: its first answer", found.wrapper_starts_s),
    ]
    return [(name, *(f"{value:.2f}" for value in spread(values))) for name, values in rows]


def _overheads_s(found: Found) -> list[float]:
    return [life.reached_s["running"] - life.bare_s for life in found.lives]


def _times(crowd: Many) -> str:
    reached = [f"all {name} after {seconds:.1f} s" for name, seconds in crowd.reached_s.items()]
    return ", ".join(
        [*reached, f"all stopped after {crowd.stopped_s:.1f} s, all removed after {crowd.removed_s:.1f} s"]
    )


def _processor_time(crowd: Many) -> list[tuple[str, str, str]]:
    idle, talking = crowd.idle, crowd.talking
    rows = [(name, cores, talking.cores[name]) for name, cores in idle.cores.items()]
    rows.append(("everything on this machine", idle.machine_cores, talking.machine_cores))
    return [(name, f"{one * 100:.1f}", f"{other * 100:.1f}") for name, one, other in rows]


def _memory(crowd: Many) -> list[tuple[str, ...]]:
    def row(name: str, before: Sequence[Memory], after: Sequence[Memory]) -> tuple[str, ...]:
        rss, pss = ([getattr(one, kind) for one in before] for kind in ("rss_bytes", "pss_bytes"))
        return name, *(
            f"{_mb(statistics.median(values)):.1f}" for values in (rss, pss, [one.pss_bytes for one in after])
        )

    names = {"host": "host", "wrappers": "a wrapper (median)", "games": "a game (median)"}
    return [row(names[part], crowd.memory[part], crowd.memory_after[part]) for part in names]


def _goals(found: Found) -> list[tuple[str, str, str]]:
    overhead_s = statistics.median(_overheads_s(found))
    wrapper_mb = _mb(statistics.median(one.rss_bytes for one in found.many.memory["wrappers"]))
    return [
        ("StartSession to running, over a bare run: p50, seconds", "< 1.2", f"{overhead_s:.2f}"),
        ("idle wrapper: RSS, MB", "< 45", f"{wrapper_mb:.1f}"),
        ("a wrapper by itself: p50, seconds", "< 0.8", f"{statistics.median(found.wrapper_starts_s):.2f}"),
    ]


async def _measured(sessions: int) -> Found:
    """Start everything, measure, end everything."""
    print("starting Postgres, RabbitMQ, api, processor and host", flush=True)
    async with prepared() as ground:
        print("warming up", flush=True)
        await one_life(ground)
        await wrapper_start_s(ground)
        lives, wrapper_starts_s = [], []
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", flush=True)
            lives.append(await one_life(ground))
            wrapper_starts_s.append(await wrapper_start_s(ground))
        print(f"{sessions} sessions at once, idle and talking for {WATCH_S:.0f} s each", flush=True)
        crowd = await many(ground, sessions)
        return Found(lives, wrapper_starts_s, crowd, str(ground.engine.version()["Version"]))


def _mb(size_bytes: float) -> float:
    return size_bytes / MEBI
