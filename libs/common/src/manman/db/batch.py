"""A *batch*: a transaction in which hosts and sessions are worked on by the hundred, as plain values.

    async with uow.batch() as batch:
        rows = await batch.lock_sessions(ids)
        ...                                     # change the rows
        batch.write_sessions(rows.values())
        await batch.commit()

The mapped classes are made for single rows, and a session of theirs asks the database one thing at a time; a batch of
reports would spend most of its time on that. A row here has the columns that reports are judged by and change, under
the same names, so that `manman.db.transitions` works on both. `write_*` has the rows written that differ from what was
read, at the commit: it is to these rows what a flush is to the mapped ones, and decides nothing.

A round trip to the database takes as long as some statements. So BEGIN goes with the first read, and everything that
only writes goes with COMMIT, which raises what the database refuses. Leaving without a commit rolls back.

Locks are taken in id order, hosts before sessions: two transactions never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence  # noqa: TC003 - msgspec reads the annotations
from datetime import datetime
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import astuple

from manman.db.outbox import ONE_BY_ONE_MAX, Additions
from manman.db.samples import ADD_SERVER_SAMPLES, ADD_SESSION_SAMPLES
from manman.db.servers import KEPT_CAPABILITIES
from manman.domain.sessions import LIVE, Status

if TYPE_CHECKING:
    from types import TracebackType

    from manman.db.outbox import Look
    from manman.db.pipeline import Pipeline, Statement
    from manman.db.reading import Reader
    from manman.db.samples import SampleRow


_BEGIN: Statement = ("BEGIN", {})
_COMMIT: Statement = ("COMMIT", {})

Values: TypeAlias = tuple[Any, ...]
"""A row as it was read, to tell later whether it has changed."""


class ServerRow(msgspec.Struct, gc=False):
    """A host, as far as its reports concern it."""

    server_id: int
    status: str
    last_seen: datetime | None
    status_since: datetime | None
    features: list[str]
    announced_address: str | None
    host_draining: bool


class CapabilityRow(msgspec.Struct, gc=False):
    """What a host says that it offers; which ports, only its registration says."""

    server_id: int
    total_memory_mb: int
    available_memory_mb: int
    cpu_cores: int
    available_cpu_millicores: int
    docker_version: str | None


class SessionRow(msgspec.Struct, gc=False):
    """A session, as far as reports about it concern it, and where it belongs: what `Deployments.origin` says."""

    session_id: int
    sgc_id: int
    server_id: int
    game_config_id: int
    game_id: int
    created_at: datetime
    stop_requested_at: datetime | None
    status: str
    status_reason: str | None
    status_message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    last_event_at: datetime | None
    forced_stop_at: datetime | None
    lost_at: datetime | None
    lost_reason: str | None
    recovered_at: datetime | None
    host_boot_id: UUID | None
    last_seq: int | None
    exit_signal: int | None
    oom_killed: bool
    container_id: str | None
    image_digest: str | None
    phase: str | None
    progress_percent: int


_WRITTEN = {
    "status": "text",
    "status_reason": "text",
    "status_message": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "exit_code": "integer",
    "last_event_at": "timestamptz",
    "forced_stop_at": "timestamptz",
    "lost_at": "timestamptz",
    "lost_reason": "text",
    "recovered_at": "timestamptz",
    "host_boot_id": "uuid",
    "last_seq": "bigint",
    "exit_signal": "integer",
    "oom_killed": "boolean",
    "container_id": "text",
    "image_digest": "text",
    "phase": "text",
    "progress_percent": "integer",
}
_SERVER_WRITTEN = {
    "status": "text",
    "last_seen": "timestamptz",
    "status_since": "timestamptz",
    "features": "text[]",
    "announced_address": "text",
    "host_draining": "boolean",
}


class _Update(NamedTuple):
    """How changed rows of a table are written by their `key`: `one` at a time, or `many` at once."""

    key: str
    one: str
    many: str

    def of(self, rows: Sequence[ServerRow] | Sequence[SessionRow]) -> list[Statement]:
        """Return what writes these rows; there may be none."""
        if len(rows) <= ONE_BY_ONE_MAX:
            return [(self.one, msgspec.to_builtins(row)) for row in rows]
        keys = [getattr(row, self.key) for row in rows]
        return [(self.many, {"rows": msgspec.json.encode(rows).decode(), "keys": keys})]


def _update(table: str, key: str, columns: dict[str, str]) -> _Update:
    """Return what writes rows: given as values, or as one JSON list, cheaper than an array for each column.

    The keys of a list come as an array besides: how many rows a list in JSON has, the planner can only guess.
    """
    given = ", ".join(f"{name} = %({name})s::{kind}" for name, kind in columns.items())
    joined = ", ".join(f"{name} = n.{name}" for name in columns)
    shape = ", ".join(f"{name} {kind}" for name, kind in ({key: "bigint"} | columns).items())
    return _Update(
        key,
        one=f"UPDATE {table} SET {given} WHERE {key} = %({key})s",  # noqa: S608 - names of ours
        many=f"UPDATE {table} t SET {joined} FROM json_to_recordset(%(rows)s) AS n({shape}) "  # noqa: S608 - the same
        f"WHERE t.{key} = n.{key} AND t.{key} = ANY(%(keys)s)",
    )


_LIVE = ", ".join(f"'{status}'" for status in Status if status in LIVE)
_OF = {"server_id": "d", "game_config_id": "d", "game_id": "c"}
_SESSION_COLUMNS = ", ".join(f"{_OF.get(name, 's')}.{name}" for name in SessionRow.__struct_fields__)
_SESSIONS = (
    f"SELECT {_SESSION_COLUMNS} FROM sessions s JOIN server_game_configs d ON d.sgc_id = s.sgc_id "  # noqa: S608 - same
    "JOIN game_configs c ON c.config_id = d.game_config_id WHERE "
)
_LOCK_SESSIONS = _SESSIONS + "s.session_id = ANY(%(ids)s) ORDER BY s.session_id FOR NO KEY UPDATE OF s"
_SESSIONS_OF_SERVERS = (
    f"{_SESSIONS} d.server_id = ANY(%(servers)s) AND s.status IN ({_LIVE})"
    f" UNION ALL {_SESSIONS} d.server_id = ANY(%(servers)s) AND s.status = 'lost'"
    f" UNION ALL {_SESSIONS} d.server_id = ANY(%(servers)s) AND s.session_id = ANY(%(listed)s)"
    f" AND s.status NOT IN ({_LIVE}, 'lost') ORDER BY session_id"
)
_LOCK_SERVERS = (
    f"SELECT {', '.join(ServerRow.__struct_fields__)} FROM servers "  # noqa: S608 - same
    "WHERE server_id = ANY(%(ids)s) ORDER BY server_id FOR NO KEY UPDATE"
)
_WRITE_SESSIONS = _update("sessions", "session_id", _WRITTEN)
_WRITE_SERVERS = _update("servers", "server_id", _SERVER_WRITTEN)


_OFFERED = ", ".join(CapabilityRow.__struct_fields__)
_ADD_CAPABILITIES = f"""
    INSERT INTO server_capabilities ({_OFFERED}, available_ports, recorded_at)
    SELECT {_OFFERED}, coalesce((
        SELECT c.available_ports FROM server_capabilities c WHERE c.server_id = n.server_id
        ORDER BY c.recorded_at DESC, c.capability_id DESC LIMIT 1), '[]'), %(now)s
    FROM json_to_recordset(%(rows)s) AS n(server_id bigint, total_memory_mb integer, available_memory_mb integer,
        cpu_cores integer, available_cpu_millicores integer, docker_version text)
"""  # noqa: S608 - same
_FORGET_CAPABILITIES = """
    DELETE FROM server_capabilities c WHERE c.server_id = ANY(%(servers)s) AND c.recorded_at < (
        SELECT k.recorded_at FROM server_capabilities k WHERE k.server_id = c.server_id
        ORDER BY k.recorded_at DESC, k.capability_id DESC OFFSET %(kept)s - 1 LIMIT 1)
"""
_ADD_CRASH_RECORDS = """
    INSERT INTO session_crash_records (session_id, lines)
    SELECT session_id, lines FROM json_to_recordset(%(rows)s) AS n(session_id bigint, lines jsonb)
    ON CONFLICT DO NOTHING
"""

_LIVE_OF = f"SELECT sgc_id, session_id FROM sessions WHERE sgc_id = ANY(%(sgc_ids)s) AND status IN ({_LIVE})"  # noqa: S608 - same


class Batch:
    """The transaction, for one block. Each kind of row is locked at most once in it."""

    def __init__(self, reader: Reader) -> None:
        """Work on a connection of `reader`, on which statements are planned once, from the beginning of the block."""
        self.outbox = Additions()
        self._loan = reader.pipeline()
        self._pipeline: Pipeline
        self._begin: tuple[Statement, ...] = (_BEGIN,)
        self._servers_read: dict[int, Values] = {}
        self._sessions_read: dict[int, Values] = {}
        self._writes: list[Statement] = []
        self._crashes: list[dict[str, object]] = []

    async def __aenter__(self) -> Self:
        self._pipeline = await self._loan.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._loan.__aexit__(kind, error, trace)

    async def lock_servers(self, server_ids: Collection[int]) -> dict[int, ServerRow]:
        """Lock the hosts that exist; return them by id."""
        if not server_ids:
            return {}
        result = await self._read(_LOCK_SERVERS, {"ids": list(server_ids)})
        self._servers_read = {row[0]: row for row in result}
        return {key: ServerRow(*values) for key, values in self._servers_read.items()}

    async def lock_sessions(self, session_ids: Collection[int]) -> dict[int, SessionRow]:
        """Lock the sessions that exist; return them by id."""
        if not session_ids:
            return {}
        result = await self._read(_LOCK_SESSIONS, {"ids": list(session_ids)})
        self._sessions_read = {row[0]: row for row in result}
        return {key: SessionRow(*values) for key, values in self._sessions_read.items()}

    async def sessions_of(self, server_ids: Collection[int], *, also: Collection[int]) -> list[SessionRow]:
        """Return, by id and not locked, the live and lost sessions of these hosts, and those of `also` on them."""
        if not server_ids:
            return []
        result = await self._read(_SESSIONS_OF_SERVERS, {"servers": list(server_ids), "listed": list(also)})
        return [*starmap(SessionRow, result)]

    async def live_of(self, sgc_ids: Collection[int]) -> dict[int, int]:
        """Return the live session of each of these deployments that has one."""
        return dict(await self._read(_LIVE_OF, {"sgc_ids": list(sgc_ids)})) if sgc_ids else {}

    def write_servers(self, rows: Collection[ServerRow]) -> None:
        """Have the locked hosts written that were changed."""
        changed = [row for row in rows if astuple(row) != self._servers_read[row.server_id]]
        self._writes += _WRITE_SERVERS.of(changed)

    def write_sessions(self, rows: Collection[SessionRow]) -> None:
        """Have the locked sessions written that were changed."""
        changed = [row for row in rows if astuple(row) != self._sessions_read[row.session_id]]
        self._writes += _WRITE_SESSIONS.of(changed)

    def add_capabilities(self, rows: Collection[CapabilityRow], *, now: datetime) -> None:
        """Have written what hosts offer now, and forget all but the newest rows of each."""
        if rows:
            self._writes.append((_ADD_CAPABILITIES, {"rows": msgspec.json.encode(list(rows)).decode(), "now": now}))
            servers = [row.server_id for row in rows]
            self._writes.append((_FORGET_CAPABILITIES, {"servers": servers, "kept": KEPT_CAPABILITIES}))

    def add_samples(self, rows: Collection[SampleRow]) -> None:
        """Have the numbers of locked hosts and of their sessions stored that are not there yet."""
        if rows:
            written = msgspec.json.encode(list(rows)).decode()
            self._writes.append((ADD_SERVER_SAMPLES, {"rows": written}))
            ids = [one.session_id for row in rows for one in row.sessions]
            if ids:
                self._writes.append((ADD_SESSION_SAMPLES, {"rows": written, "ids": ids}))

    def add_crash_record(self, session_id: int, lines: Sequence[Mapping[str, object]]) -> None:
        """Have the last lines of a crash kept, unless some are kept already: a report may come twice."""
        self._crashes.append({"session_id": session_id, "lines": lines})

    async def commit(self, look: Look | None = None) -> None:
        """Write what is to be written and make everything true at once. Raises the error family at the block's end.

        What goes into the outbox wakes the relay, unless it has its `look` here: it is made last, and holds if the
        commit does. What others commit meanwhile wakes the relay by itself.
        """
        if self._crashes:
            self._writes.append((_ADD_CRASH_RECORDS, {"rows": msgspec.json.encode(self._crashes).decode()}))
        additions = self.outbox.take(wakes=look is None)
        if not additions or look is None:
            await self._pipeline.run(*self._begin, *self._writes, *additions, _COMMIT)
            return
        answers = await self._pipeline.run(*self._begin, *self._writes, *additions, look.statement(), _COMMIT)
        look.made(answers[-2])

    async def _read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        *_, rows = await self._pipeline.run(*self._begin, (statement, values))
        self._begin = ()
        return rows
