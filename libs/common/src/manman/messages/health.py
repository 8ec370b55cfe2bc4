"""The heartbeat: a host is alive, and this is everything it runs.

Missing a heartbeat means nothing by itself; `manman.domain.hosts` says when a host is stale. The inventory lets the
control plane find what an event missed.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from manman.messages.body import Body, Id, Moment

MAX_INVENTORY = 200
"""A host lists at most this many sessions in one heartbeat."""


RECOVERING = "recovering"
"""Listed like this, a session is on the host, which does not know its state yet: it is neither missing nor moved."""


class SessionStats(Body, frozen=True, kw_only=True):
    """How many sessions the host has in each state."""

    total: int = 0
    pending: int = 0
    starting: int = 0
    running: int = 0
    stopping: int = 0
    stopped: int = 0
    crashed: int = 0


class Capabilities(Body, frozen=True, kw_only=True):
    """What the host has to offer at the moment."""

    total_memory_mb: int = 0
    available_memory_mb: int = 0
    cpu_cores: int = 0
    available_cpu_millicores: int = 0
    docker_version: str = ""
    disk_free_mb: int = 0


class SessionInventoryItem(Body, frozen=True, kw_only=True):
    """One session that the host knows, in the state in which it sees it."""

    session_id: Id
    status: str
    sgc_id: int = 0
    container_id: str = ""
    started_at: Moment | None = None
    phase: str = ""


class Heartbeat(Body, frozen=True, kw_only=True):
    """A sign of life. `sessions` is None from a host that sends no inventory, and complete when it is a list."""

    server_id: Id
    session_stats: SessionStats | None = None
    agent: str = ""
    features: list[str] = msgspec.field(default_factory=list)
    host_boot_id: UUID | None = None
    capabilities: Capabilities | None = None
    sessions: list[SessionInventoryItem] | None = None
    draining: bool = False
    public_address: str = ""
