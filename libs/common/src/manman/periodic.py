"""A *sweep* is work done every so often, given nothing but the time: it finds what events may have missed.

Runs of one sweep never overlap; an error in one run is logged and counted and the next run comes all the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Histogram

from manman import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

SWEEP_SECONDS = Histogram("manman_sweep_seconds", "How long one run of a sweep took.", ["sweep"])
SWEEP_ITEMS = Counter("manman_sweep_items_total", "Things that a sweep changed.", ["sweep"])
SWEEP_ERRORS = Counter("manman_sweep_errors_total", "Runs of a sweep that failed.", ["sweep"])

log = structlog.get_logger(__name__)


async def run_periodically(
    name: str,
    sweep: Callable[[datetime], Awaitable[int]],
    interval_s: float,
    *,
    jitter: float = 0.1,
    first_after_s: float = 0.0,
) -> None:
    """Run `sweep(now)` for ever, `interval_s` after the previous run ended, give or take `jitter` (a fraction).

    `sweep` returns how many things it changed. Any number of replicas may run it: spreading them is what jitter is
    for. Ends only by cancellation, so it belongs in a TaskGroup.
    """
    await asyncio.sleep(first_after_s)
    while True:
        await _run_once(name, sweep)
        await asyncio.sleep(interval_s * (1.0 + random.uniform(-jitter, jitter)))  # noqa: S311 - spreads load, guards nothing


async def _run_once(name: str, sweep: Callable[[datetime], Awaitable[int]]) -> None:
    started = time.monotonic()
    try:
        changed = await sweep(clock.now())
    except Exception:
        SWEEP_ERRORS.labels(name).inc()
        log.exception("sweep_failed", sweep=name)
        return
    finally:
        SWEEP_SECONDS.labels(name).observe(time.monotonic() - started)
    SWEEP_ITEMS.labels(name).inc(changed)
    if changed:
        log.info("sweep_changed", sweep=name, changed=changed, seconds=round(time.monotonic() - started, 3))
