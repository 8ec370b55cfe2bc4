"""Hosts: online or offline, and when silence counts.

A host is stale if, and only if, it is recorded as online and was last seen longer ago than the threshold, by our clock.
A host that was never seen is not stale: nothing is known about it.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from manman.errors import Problem

if TYPE_CHECKING:
    from datetime import datetime

    from manman.domain.ports import PortRange

RETURNING = timedelta(minutes=1)
"""So long after it came online a host that sends no inventory is believed to speak of its lost sessions.

It says that it is online before it says how many run.
"""


class HostStatus(StrEnum):
    """The two recorded states of a host."""

    ONLINE = "online"
    OFFLINE = "offline"


def is_stale(status: str, last_seen: datetime | None, now: datetime, threshold: timedelta) -> bool:
    """Tell whether the host has been silent for too long; exactly the threshold is not too long."""
    return status == HostStatus.ONLINE and last_seen is not None and now - last_seen > threshold


def came_back(status: str) -> bool:
    """Tell whether a sign of life from a host in this state is news."""
    return status != HostStatus.ONLINE


def is_returning(status: str, status_since: datetime | None, now: datetime) -> bool:
    """Tell whether the host comes back now, or did a moment ago."""
    return came_back(status) or (status_since is not None and now - status_since < RETURNING)


def check_address(address: str) -> list[Problem]:
    """Return what is wrong with the address that players are given; "" is none."""
    if any(character.isspace() or character in "/@" for character in address):
        text = f"write a host name or an address without a port, such as play.example.org, not {address!r}"
        return [Problem("public_address", text)]
    return []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a host offers. An empty `available_ports` means that the host leaves the choice to the platform."""

    total_memory_mb: int = 0
    available_memory_mb: int = 0
    cpu_cores: int = 0
    available_cpu_millicores: int = 0
    docker_version: str = ""
    available_ports: tuple[PortRange, ...] = ()
