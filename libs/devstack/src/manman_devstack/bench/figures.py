"""Figures of a benchmark: what one round of one case measured, and what several rounds say together.

Pure, but for `Meter` and `Crowd`, which read what processes use. Rounds of different cases take turns, so that other
load on the machine meets all of them; a figure is the median of the rounds, and a ratio is the median of the ratios
within each round.
"""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Sample:
    """One round of one case. `database_cpu_s` is None where the database is not ours to look at."""

    calls: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    database_cpu_s: float | None = None

    @property
    def calls_per_s(self) -> float:
        """Calls answered in a second."""
        return self.calls / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """Processor time of the server for one call, in microseconds."""
        return self.server_cpu_s / self.calls * 1e6

    @property
    def database_cpu_us(self) -> float | None:
        """Processor time of Postgres for one call, in microseconds."""
        return None if self.database_cpu_s is None else self.database_cpu_s / self.calls * 1e6


@dataclass(frozen=True)
class Case:
    """Something measured, with its rounds in their order."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, of: Callable[[Sample], float]) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(of(sample) for sample in self.samples)


def ratio(over: Callable[[int], float], under: Callable[[int], float], rounds: int) -> float:
    """Return the median of `over / under`, both taken from the same round."""
    return statistics.median(over(number) / under(number) for number in range(rounds))


def spread(values_s: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 90th percentile and the longest of some times."""
    return statistics.median(values_s), statistics.quantiles(values_s, n=10, method="inclusive")[-1], max(values_s)


class Meter:
    """The processor time that a process, its children and those of them that ended have used so far."""

    def __init__(self, pid: int) -> None:
        """Watch this process."""
        self._process = psutil.Process(pid)

    def seconds(self) -> float:
        """Return user and system time together."""
        own = self._process.cpu_times()
        total: float = own.user + own.system + own.children_user + own.children_system
        for child in self._process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended: its parent has its time
                times = child.cpu_times()
                total += times.user + times.system
        return total


class Crowd:
    """Some processes that are alike, without their children: looking for those of a hundred takes seconds."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Watch these processes, which must not end meanwhile."""
        self._processes = [psutil.Process(pid) for pid in pids]

    def seconds(self) -> float:
        """Return the user and system time of all of them."""
        times = [process.cpu_times() for process in self._processes]
        return sum(one.user + one.system for one in times)

    def memory(self) -> list[Memory]:
        """Return what each of them holds."""
        found = [process.memory_full_info() for process in self._processes]
        return [Memory(one.rss, one.pss) for one in found]


@dataclass(frozen=True)
class Memory:
    """What a process holds: all of its pages, and its fair share of those that it has in common with others (PSS)."""

    rss_bytes: int
    pss_bytes: int
