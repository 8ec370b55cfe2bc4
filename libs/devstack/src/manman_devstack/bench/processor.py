"""`make bench-processor`: how fast the processor is, beside the least and the most that the same machine allows.

Three programs work through the same backlog in turns, on one private Postgres and RabbitMQ, so that other load on the
machine meets all of them: the processor as it is shipped; the one-report-at-a-time design; and a relay without a
database. Ratios are taken within a round, and the median of the rounds counts. The figures go to docs/performance.md.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manman_devstack.bench import page
from manman_devstack.bench.processor_fleet import HOSTS, PER_HOST
from manman_devstack.bench.processor_ground import BARE_RELAY, ONE_AT_A_TIME, PROCESSOR, prepared
from manman_devstack.bench.processor_measures import drain, drain_heartbeats, latency, simulate, together

if TYPE_CHECKING:
    from manman_devstack.bench.processor_ground import Ground
    from manman_devstack.bench.processor_measures import Drain, Latency

NAME = "bench-processor"
ROUNDS = 3
BACKLOG = 40_000
SHORT_BACKLOG = 2_000
BEATS = 100_000
BEATING_HOSTS = 500
IDLE_PER_S = 50.0
STEADY_PER_S = 500.0
LATENCY_S = 5.0
SIMULATION_S = 60.0
ENDS_PER_S = 100.0

_PACKAGES = ("aio-pika", "pamqp", "msgspec", "sqlalchemy", "psycopg")


@dataclass(frozen=True)
class Goal:
    """A figure and what it should be."""

    what: str
    found: float
    wanted: float
    at_least: bool
    unit: str = ""

    def row(self) -> list[str]:
        """Return it for the table of goals."""
        met = self.found >= self.wanted if self.at_least else self.found <= self.wanted
        limit = f"{'≥' if self.at_least else '≤'} {_number(self.wanted)}{self.unit}"
        return [self.what, f"{_number(self.found)}{self.unit}", limit, "yes" if met else "no"]


@dataclass(frozen=True)
class Found:
    """Everything that was measured."""

    drains: dict[str, list[Drain]]
    beats: Drain
    latencies: dict[str, list[Latency]]
    quarter_per_s: float
    lag: Latency
    simulation: Drain

    def median(self, module: str) -> float:
        """Return events in a second."""
        return statistics.median(one.per_s for one in self.drains[module])

    def ratio(self, other: str) -> float:
        """Return how many times faster than the other the processor is."""
        pairs = zip(self.drains[PROCESSOR], self.drains[other], strict=True)
        return statistics.median(ours.per_s / theirs.per_s for ours, theirs in pairs)

    def cpu_us(self, module: str) -> list[float]:
        """Return processor time for one event, in microseconds: Python, broker, database."""
        return [statistics.median(part) for part in zip(*(one.cpu_us() for one in self.drains[module]), strict=True)]

    def goals(self) -> list[Goal]:
        """Return what should be, and what is."""
        steady, quarter = together(self.latencies["500/s"]), together(self.latencies["a quarter of its rate"])
        idle, other_idle = together(self.latencies["50/s"]), together(self.latencies["50/s, one at a time"])
        return [
            Goal("processor / relay without a database", self.ratio(BARE_RELAY), 0.4, at_least=True),
            Goal("processor / one at a time", self.ratio(ONE_AT_A_TIME), 25, at_least=True),
            Goal("Python's processor time for one event", self.cpu_us(PROCESSOR)[0], 30, at_least=False, unit=" µs"),
            Goal("p50 at 500/s", steady.p_ms(50), 5, at_least=False, unit=" ms"),
            Goal("p99 at 500/s", steady.p_ms(99), 20, at_least=False, unit=" ms"),
            Goal("p99 at a quarter of its own rate", quarter.p_ms(99), 50, at_least=False, unit=" ms"),
            Goal("p50 at 50/s / that of one at a time", idle.p_ms(50) / other_idle.p_ms(50), 1, at_least=False),
            Goal("heartbeats in a second", self.beats.per_s, 25_000, at_least=True),
            Goal("longest lag of the fleet", self.lag.longest_ms, 1000, at_least=False, unit=" ms"),
        ]


async def measure(ground: Ground) -> Found:
    """Measure everything, which takes some minutes."""
    drains: dict[str, list[Drain]] = {ONE_AT_A_TIME: [], BARE_RELAY: [], PROCESSOR: []}
    for number in range(ROUNDS):
        for module, results in drains.items():
            _say(f"round {number + 1} of {ROUNDS}: {module}")
            results.append(await drain(ground, module, SHORT_BACKLOG if module == ONE_AT_A_TIME else BACKLOG))
    quarter_per_s = statistics.median(one.per_s for one in drains[PROCESSOR]) / 4
    rates = {
        "50/s, one at a time": (ONE_AT_A_TIME, IDLE_PER_S),
        "50/s": (PROCESSOR, IDLE_PER_S),
        "500/s, relay without a database": (BARE_RELAY, STEADY_PER_S),
        "500/s": (PROCESSOR, STEADY_PER_S),
        "a quarter of its rate": (PROCESSOR, quarter_per_s),
    }
    latencies: dict[str, list[Latency]] = {name: [] for name in rates}
    for number in range(ROUNDS):
        for name, (module, per_s) in [*rates.items()][:: (-1) ** number]:  # nobody is always behind the same one
            _say(f"latency, round {number + 1} of {ROUNDS}: {name}")
            latencies[name].append(await latency(ground, module, per_s, LATENCY_S))
    _say("heartbeats")
    beats = await drain_heartbeats(ground, BEATS, BEATING_HOSTS)
    _say(f"{HOSTS} hosts for {SIMULATION_S:.0f} s")
    lag, simulation = await simulate(ground, SIMULATION_S, ENDS_PER_S)
    return Found(drains, beats, latencies, quarter_per_s, lag, simulation)


def text(found: Found) -> str:
    """Return the section of the page."""
    cpu_head = ["", "events/s", "Python µs", "broker µs", "Postgres µs"]
    names = {PROCESSOR: "processor", ONE_AT_A_TIME: "one at a time", BARE_RELAY: "relay without a database"}
    drains = [
        [name, _number(found.median(module)), *map(_number, found.cpu_us(module))] for module, name in names.items()
    ]
    drains.append(["heartbeats", _number(found.beats.per_s), *map(_number, found.beats.cpu_us())])
    latencies = {name: together(rounds) for name, rounds in found.latencies.items()}
    times = [[name, _number(one.p_ms(50)), _number(one.p_ms(99))] for name, one in latencies.items()]
    used = found.simulation.used
    cores = (part / used.elapsed_s for part in (used.python_s, used.broker_s, used.database_s))
    python, broker, database = (f"{part:.2f}" for part in cores)
    backlog = (
        f"A backlog of {BACKLOG:,} reports ({SHORT_BACKLOG:,} for one at a time), each of which changes a session "
        f"(pending to running to stopped) and is published again: median of {ROUNDS} rounds, processor time for one "
        "event. Each drain was read back: no event was missing, none of a session was out of order, every row was "
        f"final. Heartbeats: {BEATS:,} of {BEATING_HOSTS} hosts, without inventory."
    )
    latency_head = (
        "From the publishing of a report until a subscriber has the event, in milliseconds, in "
        f"{ROUNDS} rounds (a quarter of its rate is {found.quarter_per_s:,.0f}/s):"
    )
    fleet = (
        f"A fleet of {HOSTS:,} hosts, each beating every 3 s with an inventory of its {PER_HOST} sessions, while "
        f"{ENDS_PER_S:.0f} sessions end in a second, for {SIMULATION_S:.0f} s: the lag was {found.lag.p_ms(50):.0f} ms "
        f"(p50), {found.lag.p_ms(99):.0f} ms (p99), {found.lag.longest_ms:.0f} ms at most; cores used: processor "
        f"{python}, broker {broker}, Postgres {database}."
    )
    goals = [goal.row() for goal in found.goals()]
    return "\n\n".join(
        [
            page.circumstances(_PACKAGES, f"load of the machine {os.getloadavg()[0]:.1f} at the end"),
            backlog,
            page.table(cpu_head, drains),
            latency_head,
            page.table(["", "p50", "p99"], times),
            fleet,
            page.table(["goal", "found", "wanted", "met"], goals),
        ]
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - digits


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def run() -> int:
    """Measure, print, and write the page."""
    section = asyncio.run(_measured())
    print(section)
    page.replace_section(NAME, section)
    return 0


async def _measured() -> str:
    async with prepared() as ground:
        return text(await measure(ground))
