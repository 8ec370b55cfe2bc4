"""External events: what the platform tells the world, on the exchange for subscribers.

One event per real change. It may arrive twice; then both have one `event_id`.
"""

from __future__ import annotations

from manman.messages.body import Body, Id, Moment, UuidText


class HostEvent(Body, frozen=True, kw_only=True):
    """A host came online, went offline, or fell silent (then the key says `stale` and the body `offline`)."""

    server_id: Id
    status: str
    event_id: UuidText | None = None
    occurred_at: Moment | None = None
    previous_status: str = ""
    reason: str = ""


class DeploymentEvent(Body, frozen=True, kw_only=True):
    """A deployment's sessions ended by themselves so often that it is not started again (`status` crash_loop)."""

    sgc_id: Id
    status: str
    event_id: UuidText | None = None
    occurred_at: Moment | None = None
    server_id: int = 0
    game_id: int = 0
    game_config_id: int = 0
    session_id: int = 0
    reason: str = ""
    sequence: int = 0  # among the events about the deployment, from 1; given when the event is stored


class SessionEvent(Body, frozen=True, kw_only=True):
    """A session's recorded state changed. A clean end by itself has status `stopped`, final_status `completed`."""

    session_id: Id
    sgc_id: int
    status: str
    exit_code: int | None = None
    event_id: UuidText | None = None
    occurred_at: Moment | None = None
    previous_status: str = ""
    server_id: int = 0
    game_id: int = 0
    game_config_id: int = 0
    final_status: str = ""
    reason: str = ""
    message: str = ""
    sequence: int = 0  # among the events about the deployment, from 1; given when the event is stored
