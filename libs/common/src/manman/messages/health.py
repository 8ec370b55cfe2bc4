"""The heartbeat: a host is alive, and this is everything it runs.

Missing a heartbeat means nothing by itself; `manman.domain.hosts` says when a host is stale. The inventory lets the
control plane find what an event missed.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from manman.domain.samples import LONGEST_INTERVAL_S
from manman.messages.body import Body, Id, Moment

MAX_INVENTORY = 200
"""A host lists at most this many sessions in one heartbeat."""


MAX_SAMPLES = 1000
"""A host sends numbers of at most this many sessions at a time."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e15)]

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


class SessionSample(Body, frozen=True, kw_only=True):
    """What one game uses: its container, without its wrapper. None: not known, or a rate before the second look.

    `cpu_cores` are cores in use since the sample before; memory is without what the kernel would give back at once.
    Players are as the game itself counts them.
    """

    session_id: Id
    cpu_cores: Rate | None = None
    memory_bytes: Size | None = None
    memory_limit_bytes: Size | None = None
    received_bytes_per_second: Rate | None = None
    sent_bytes_per_second: Rate | None = None
    read_bytes_per_second: Rate | None = None
    written_bytes_per_second: Rate | None = None
    players: Count | None = None
    players_max: Count | None = None


class HostSample(Body, frozen=True, kw_only=True):
    """What the whole machine uses; the disk is that of the data folder. None as in `SessionSample`."""

    cpu_cores: Rate | None = None
    cpu_count: Count | None = None
    load: Rate | None = None
    memory_bytes: Size | None = None
    memory_total_bytes: Size | None = None
    disk_bytes: Size | None = None
    disk_total_bytes: Size | None = None
    received_bytes_per_second: Rate | None = None
    sent_bytes_per_second: Rate | None = None


class Samples(Body, frozen=True, kw_only=True):
    """The numbers of a host and its running games at `taken_at`, of the `interval_seconds` before."""

    taken_at: Moment
    interval_seconds: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_INTERVAL_S)]
    host: HostSample | None = None
    sessions: Annotated[list[SessionSample], msgspec.Meta(max_length=MAX_SAMPLES)] = msgspec.field(default_factory=list)


class Heartbeat(Body, frozen=True, kw_only=True):
    """A sign of life. `sessions` is None from a host that sends no inventory, and complete when it is a list.

    `samples` come with some heartbeats only, from hosts that take them.
    """

    server_id: Id
    session_stats: SessionStats | None = None
    agent: str = ""
    features: list[str] = msgspec.field(default_factory=list)
    host_boot_id: UUID | None = None
    capabilities: Capabilities | None = None
    sessions: list[SessionInventoryItem] | None = None
    draining: bool = False
    public_address: str = ""
    samples: Samples | None = None
