"""One run of chaos: every fault in turn on one ground, told on the terminal; the full measure writes the page."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from manman_devstack import parts
from manman_devstack.chaos import page
from manman_devstack.chaos.faults import FAULTS, FULL, SHORT
from manman_devstack.chaos.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman_devstack.chaos.faults import Measure
    from manman_devstack.chaos.ground import Toll


def run(*, short: bool = False, only: Sequence[str] = ()) -> int:
    """Play the faults; return 1 when something did not come right. Only a full run of all of them writes the page."""
    chosen = [name for name in FAULTS if not only or name in only]
    home = parts.own_run_home()
    parts.install_programs()
    logging.disable()  # the plain client complains loudly about every broker that is away
    try:
        tolls = asyncio.run(_play(chosen, SHORT if short else FULL, Ground(home)))
    finally:
        parts.end_run(home)
    print(page.table(FAULTS, tolls))
    if len(tolls) < len(chosen):
        return 1
    if not short and len(chosen) == len(FAULTS):
        page.write(FAULTS, tolls)
    return 0


async def _play(chosen: Sequence[str], measure: Measure, ground: Ground) -> dict[str, Toll]:
    tolls: dict[str, Toll] = {}
    async with ground:
        for name in chosen:
            started = time.monotonic()
            print(f"{name.replace('_', ' ')} ...", end=" ", flush=True)
            tolls[name] = await FAULTS[name](ground, measure)
            print(f"right after {tolls[name].recovery_s:.1f} s, {time.monotonic() - started:.0f} s in all", flush=True)
    return tolls
