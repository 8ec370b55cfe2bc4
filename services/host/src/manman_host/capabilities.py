"""What this machine has to offer, and what this program can do."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

from manman.messages.health import Capabilities
from manman.v1 import servers_pb2
from manman_host.machine import memory_kib

if TYPE_CHECKING:
    from pathlib import Path

AGENT = f"manman-py/{version('manman-host')}"
FEATURES = (
    "entrypoint",
    "read_only_volumes",
    "kill",
    "sessions_inventory",
    "starting_heartbeat",
    "config_files",
    "exit_code_on_stop",
    "log_seq",
    "wrapper",
)
MEBI = 1024 * 1024


def measure(data_dir: Path, docker_version: str) -> Capabilities:
    """Measure memory, cores, load and disk of this machine."""
    memory = memory_kib()
    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0]
    return Capabilities(
        total_memory_mb=memory.get("MemTotal", 0) // 1024,
        available_memory_mb=memory.get("MemAvailable", 0) // 1024,
        cpu_cores=cores,
        available_cpu_millicores=max(0, int((cores - busy) * 1000)),
        docker_version=docker_version,
        disk_free_mb=shutil.disk_usage(data_dir).free // MEBI,
    )


def to_registration(measured: Capabilities, ranges: list[tuple[int, int, str]]) -> servers_pb2.ServerCapabilities:
    """Return the same as a message of the API, with the ports that deployments may be given."""
    return servers_pb2.ServerCapabilities(
        total_memory_mb=measured.total_memory_mb,
        available_memory_mb=measured.available_memory_mb,
        cpu_cores=measured.cpu_cores,
        available_cpu_millicores=measured.available_cpu_millicores,
        docker_version=measured.docker_version,
        available_ports=[servers_pb2.PortRange(start=start, end=end, protocol=name) for start, end, name in ranges],
    )
