"""What this machine has and uses, as its kernel counts: processors, memory, disk, network.

In a container it is the machine's all the same, but for the network, which is the container's own unless it shares the
machine's.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

KIBI = 1024
BUSY = (0, 1, 2, 5, 6, 7)
"""Of a line of /proc/stat: user, nice, system, irq, softirq, steal. Guests are in user."""

RECEIVED, SENT = 0, 8
"""Of a line of /proc/net/dev."""

INNER_DEVICES = ("lo", "veth", "docker", "br-")
"""What passes these has passed, or never will, a device that leads outside."""


@dataclass(frozen=True)
class MachineUsage:
    """What is in use now, and counters since the machine started; None where the kernel does not tell."""

    cpu_s: float | None
    cpu_count: int
    load: float
    memory_bytes: int | None
    memory_total_bytes: int | None
    disk_bytes: int
    disk_total_bytes: int
    received_bytes: int | None
    sent_bytes: int | None


def look(data_dir: Path) -> MachineUsage:
    """Look at everything; the disk is the one that `data_dir` is on."""
    memory, disk, network = memory_kib(), shutil.disk_usage(data_dir), _network()
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    return MachineUsage(
        cpu_s=_cpu_s(),
        cpu_count=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        memory_bytes=(total - available) * KIBI if total and available else None,
        memory_total_bytes=total * KIBI if total else None,
        disk_bytes=disk.used,
        disk_total_bytes=disk.total,
        received_bytes=network[0],
        sent_bytes=network[1],
    )


def memory_kib() -> dict[str, int]:
    """Return /proc/meminfo in KiB; empty where there is none."""
    lines = _lines("/proc/meminfo")
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _cpu_s() -> float | None:
    for line in _lines("/proc/stat"):
        name, *ticks = line.split()
        if name == "cpu":
            return sum(int(ticks[index]) for index in BUSY) / os.sysconf("SC_CLK_TCK")
    return None


def _network() -> tuple[int | None, int | None]:
    devices = [line.partition(":") for line in _lines("/proc/net/dev") if ":" in line]
    counts = [rest.split() for name, _, rest in devices if not name.strip().startswith(INNER_DEVICES)]
    if not counts:
        return None, None
    return sum(int(each[RECEIVED]) for each in counts), sum(int(each[SENT]) for each in counts)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
