"""Status reports: what a host says about itself and about its sessions.

A report is an observation, not a decision: `manman.domain.sessions` decides what it changes. Reports arrive at least
once and may be late.
"""

from __future__ import annotations

from uuid import UUID

from manman.messages.body import Body, Id, Moment


class HostReported(Body, frozen=True, kw_only=True):
    """A host came (`online`) or says good-bye (`offline`)."""

    server_id: Id
    status: str


class SessionReported(Body, frozen=True, kw_only=True):
    """What a host sees of one session.

    `sgc_id` is 0 when the host does not know it. `phase` and `progress` (percent) describe a start in preparation.
    `seq` rises with every report of one `host_boot_id`. `final_status` refines `stopped` (`completed`: ended by itself,
    with code 0). `recovered` marks what was found after a restart of the host.
    """

    session_id: Id
    status: str
    sgc_id: int = 0
    exit_code: int | None = None
    event_id: UUID | None = None
    occurred_at: Moment | None = None
    host_boot_id: UUID | None = None
    seq: int = 0
    phase: str = ""
    progress: int = 0
    reason: str = ""
    message: str = ""
    final_status: str = ""
    container_id: str = ""
    image_digest: str = ""
    started_at: Moment | None = None
    recovered: bool = False
