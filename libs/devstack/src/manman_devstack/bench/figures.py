"""Figures of a benchmark: what one round of one case measured, and what several rounds say together.

Pure, but for `Meter`, which reads the processor time of a process. Rounds of different cases take turns, so that other
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
    from collections.abc import Callable


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
