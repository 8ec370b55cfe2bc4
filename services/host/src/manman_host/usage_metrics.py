"""The latest samples as metrics: a gauge for each number of the machine, and one for each of every game that runs.

A game that has ended, or whose number is not known, has no series: there are never more than games.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manman_host.sampling import Sampler

LABELS = ("session_id", "sgc_id")
GAME = {
    "cpu_cores": "Cores that a game uses.",
    "memory_bytes": "Memory that a game uses, without what the kernel would give back.",
    "memory_limit_bytes": "Memory that a game may use.",
    "received_bytes_per_second": "What a game receives.",
    "sent_bytes_per_second": "What a game sends.",
    "read_bytes_per_second": "What a game reads from disk.",
    "written_bytes_per_second": "What a game writes to disk.",
    "players": "Players, as the game counts them.",
    "players_max": "Players that the game has room for.",
}
MACHINE = {
    "cpu_cores": "Cores in use.",
    "cpu_count": "Cores that there are.",
    "load": "Processes that run or want to, the mean of a minute.",
    "memory_bytes": "Memory in use, without what the kernel would give back.",
    "memory_total_bytes": "Memory that there is.",
    "disk_bytes": "In use on the disk of the data folder.",
    "disk_total_bytes": "Size of the disk of the data folder.",
    "received_bytes_per_second": "What the machine receives.",
    "sent_bytes_per_second": "What the machine sends.",
}


class UsageCollector(Collector):
    """Shows the latest samples of a sampler whenever metrics are asked for."""

    def __init__(self, sampler: Sampler) -> None:
        """Show what `sampler` saw last."""
        self._sampler = sampler

    def describe(self) -> list[GaugeMetricFamily]:
        """Promise nothing: what is not known is not shown."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give the gauges that have a value."""
        samples, deployments = self._sampler.latest, self._sampler.deployments
        if samples is None:
            return
        for name, text in MACHINE.items():
            value = getattr(samples.host, name, None)
            if value is not None:
                yield GaugeMetricFamily(f"manman_host_{name}", text, value=value)
        for name, text in GAME.items():
            gauge = GaugeMetricFamily(f"manman_session_{name}", text, labels=LABELS)
            for sample in samples.sessions:
                value = getattr(sample, name)
                if value is not None:
                    gauge.add_metric([str(sample.session_id), str(deployments[sample.session_id])], value)
            yield gauge


@contextlib.contextmanager
def shown(sampler: Sampler) -> Iterator[None]:
    """Show the samples on /metrics within the block."""
    collector = UsageCollector(sampler)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)
