"""What a container uses, as the engine's statistics say: counters since it started, and memory.

Engines differ by version of the kernel's control groups; what one does not count is None, which is not nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NANO = 1e9
NEVER = "0001-"
"""How the time begins at which an engine says that it looked at a container that does not run."""


@dataclass(frozen=True)
class Usage:
    """Counters since the container started, and the memory it uses now, without what the kernel would give back."""

    cpu_s: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None


def read_usage(stats: Mapping[str, Any]) -> Usage | None:
    """Return what the engine's statistics say; None for a container that does not run."""
    if str(stats.get("read", NEVER)).startswith(NEVER):
        return None
    networks = stats.get("networks") or {}
    cpu_ns = (stats.get("cpu_stats") or {}).get("cpu_usage", {}).get("total_usage")
    memory = stats.get("memory_stats") or {}
    return Usage(
        cpu_s=None if cpu_ns is None else cpu_ns / NANO,
        memory_bytes=_working_set(memory),
        memory_limit_bytes=memory.get("limit"),
        received_bytes=_sum(one.get("rx_bytes") for one in networks.values()),
        sent_bytes=_sum(one.get("tx_bytes") for one in networks.values()),
        read_bytes=_transferred(stats, "read"),
        written_bytes=_transferred(stats, "write"),
    )


def _working_set(memory: Mapping[str, Any]) -> int | None:
    """Return what is used without the part of the file cache that nobody needed lately; its name differs."""
    details = memory.get("stats") or {}
    cached: int = details.get("total_inactive_file", details.get("inactive_file", 0))
    used: int | None = memory.get("usage")
    return None if used is None else max(0, used - cached)


def _transferred(stats: Mapping[str, Any], operation: str) -> int | None:
    entries = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    return _sum(entry.get("value") for entry in entries if str(entry.get("op", "")).lower() == operation)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
