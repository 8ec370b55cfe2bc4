"""The fleet that the processor's bench pretends: hosts with four deployments each, one session in each deployment.

It is rows in the database and messages on the bus, nothing runs. A session here goes from pending to running to stopped
and both are announced outside, so that every report is a real change and is published again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from manman.bus.publisher import Outgoing
from manman.messages import routing
from manman.messages.codec import encode
from manman.messages.health import Capabilities, Heartbeat, SessionInventoryItem, SessionStats
from manman.messages.status import SessionReported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOSTS = 5_000
PER_HOST = 4

_BOOT = uuid.UUID(int=1)

_FILL = """
INSERT INTO servers (name, status, last_seen, status_since)
SELECT 'host-' || n, 'online', now(), now() FROM generate_series(1, %(hosts)s) n;

INSERT INTO games (name) VALUES ('game');

INSERT INTO game_configs (game_id, name, image)
SELECT game_id, 'config ' || n, 'game:1' FROM games, generate_series(1, %(per_host)s) n;

INSERT INTO server_game_configs (server_id, game_config_id)
SELECT server_id, config_id FROM servers, game_configs ORDER BY server_id, config_id;

INSERT INTO sessions (sgc_id, created_at)
SELECT sgc_id, now() - interval '1 hour' FROM server_game_configs ORDER BY sgc_id
"""

_AGAIN = """
UPDATE sessions SET status = %(status)s, started_at = NULL, ended_at = NULL, exit_code = NULL, status_reason = NULL,
    last_event_at = NULL, host_boot_id = NULL, last_seq = NULL, container_id = NULL, forced_stop_at = NULL;

VACUUM FULL ANALYZE sessions;

VACUUM ANALYZE;

TRUNCATE outbox;

CHECKPOINT
"""


@dataclass(frozen=True)
class Fleet:
    """The sessions of each host, by its id."""

    database_url: str
    sessions: dict[int, list[int]]

    def session_ids(self, count: int | None = None) -> list[int]:
        """Return sessions of all hosts in turn."""
        return [session for row in zip(*self.sessions.values(), strict=True) for session in row][:count]

    def begin_again(self, status: str = "pending") -> None:
        """Let all sessions be in this live state, with no message waiting and nothing for the vacuum to do."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for statement in _AGAIN.split(";"):
                connection.execute(statement, {"status": status})

    def statuses(self) -> dict[int, str]:
        """Return the recorded state of every session."""
        with psycopg.connect(self.database_url) as connection:
            return dict(connection.execute("SELECT session_id, status FROM sessions").fetchall())


def make(database_url: str) -> Fleet:
    """Fill an empty database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in _FILL.split(";"):
            connection.execute(statement, {"hosts": HOSTS, "per_host": PER_HOST})
        rows = connection.execute(
            "SELECT server_id, array_agg(session_id ORDER BY session_id) "
            "FROM sessions JOIN server_game_configs USING (sgc_id) GROUP BY 1"
        )
        return Fleet(database_url, dict(rows.fetchall()))


def report(session_id: int, status: str, *, seq: int) -> Outgoing:
    """Return what a host says of a session."""
    event_id = uuid.uuid4()
    body = SessionReported(
        session_id=session_id,
        status=status,
        event_id=event_id,
        host_boot_id=_BOOT,
        seq=seq,
        exit_code=0 if status == "stopped" else None,
        reason="killed" if status == "stopped" else "",
        container_id=f"container-of-{session_id}",
    )
    return _outgoing(routing.status_session(session_id), encode(body), str(event_id))


def lives(session_ids: Sequence[int], *, together: int = 50) -> Iterator[Outgoing]:
    """Give the reports of whole lives, the order of each kept and the lives of `together` sessions mixed."""
    for start in range(0, len(session_ids), together):
        for seq, status in enumerate(("running", "stopped"), 1):
            for session_id in session_ids[start : start + together]:
                yield report(session_id, status, seq=seq)


def heartbeat(server_id: int, session_ids: Sequence[int] | None, *, offers: bool = False) -> Outgoing:
    """Return a sign of life; with sessions it says that the host runs exactly these, with `offers` what it has."""
    running = [
        SessionInventoryItem(session_id=session_id, status="running", container_id=f"container-of-{session_id}")
        for session_id in session_ids or ()
    ]
    body = Heartbeat(
        server_id=server_id,
        session_stats=SessionStats(total=len(running), running=len(running)),
        agent="bench",
        features=["phases", "log_streams"],
        host_boot_id=_BOOT,
        capabilities=Capabilities(total_memory_mb=65_536, available_memory_mb=8_192, cpu_cores=16) if offers else None,
        sessions=None if session_ids is None else running,
        public_address="192.0.2.1",
    )
    return _outgoing(routing.health_host(server_id), encode(body), str(uuid.uuid4()))


def _outgoing(key: str, body: bytes, message_id: str) -> Outgoing:
    return Outgoing(exchange=routing.EXCHANGE, routing_key=key, body=body, message_id=message_id)
