"""Queries about samples: what hosts sent comes in with their heartbeats, grows old, and is read as a series.

A sample that comes twice is stored once, and one of a session that is gone, or is on another host, not at all. As they
came they are kept for hours, then as means and peaks of five minutes. A mean counts each row for the seconds that it
stands for, and leaves out the rows that do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import text

from manman.db.models import Server, ServerSample, Session, SessionSample
from manman.domain.samples import KEPT_STEP_S
from manman.messages import health

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.reading import Reader
    from manman.domain.samples import Window


class SampleRow(msgspec.Struct, gc=False):
    """What one host sent at one time, of itself and of its sessions."""

    server_id: int
    at: datetime
    span_seconds: int
    host: health.HostSample | None
    sessions: list[health.SessionSample]


@dataclass(frozen=True, eq=False)
class Series:
    """A table of samples: whose they are, what is measured with its type, and of what the peaks are kept."""

    table: str
    owners: str
    key: str
    measures: Mapping[str, str]
    peaks: Mapping[str, str]
    extremes: frozenset[str]
    """Measures that are limits rather than amounts: of several the highest counts, not the mean."""

    @property
    def columns(self) -> list[str]:
        """The columns of a point, in the order of `aggregates`."""
        return [*self.measures, *(f"{name}_peak" for name in self.peaks)]

    @property
    def aggregates(self) -> str:
        """What makes one point of many rows."""
        means = [
            f"max({name})" if name in self.extremes else f"({_mean(name)})::{kind}"
            for name, kind in self.measures.items()
        ]
        peaks = [f"max(coalesce({name}_peak, {name}))::{kind}" for name, kind in self.peaks.items()]
        return ", ".join([*means, *peaks])


def _mean(name: str) -> str:
    return (
        f"sum({name}::float8 * span_seconds) / nullif(sum(span_seconds) FILTER (WHERE {name} IS NOT NULL), 0)::float8"
    )


_RATES = {"received_bytes_per_second": "real", "sent_bytes_per_second": "real"}
SESSIONS = Series(
    table=SessionSample.__tablename__,
    owners=Session.__tablename__,
    key="session_id",
    measures={
        "cpu_cores": "real",
        "memory_bytes": "bigint",
        "memory_limit_bytes": "bigint",
        **_RATES,
        "read_bytes_per_second": "real",
        "written_bytes_per_second": "real",
        "players": "real",
        "players_max": "integer",
    },
    peaks={"cpu_cores": "real", "memory_bytes": "bigint", "players": "integer"},
    extremes=frozenset({"memory_limit_bytes", "players_max"}),
)
SERVERS = Series(
    table=ServerSample.__tablename__,
    owners=Server.__tablename__,
    key="server_id",
    measures={
        "cpu_cores": "real",
        "cpu_count": "integer",
        "load": "real",
        "memory_bytes": "bigint",
        "memory_total_bytes": "bigint",
        "disk_bytes": "bigint",
        "disk_total_bytes": "bigint",
        **_RATES,
    },
    peaks={"cpu_cores": "real", "memory_bytes": "bigint"},
    extremes=frozenset({"cpu_count", "memory_total_bytes", "disk_total_bytes"}),
)


def _shape(series: Series) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in series.measures.items())


# The sessions are locked, against their deletion, in id order before anything refers to them.
ADD_SESSION_SAMPLES = f"""
    WITH known AS MATERIALIZED (
        SELECT s.session_id, d.server_id FROM sessions s JOIN server_game_configs d ON d.sgc_id = s.sgc_id
        WHERE s.session_id = ANY(%(ids)s) ORDER BY s.session_id FOR KEY SHARE OF s
    )
    INSERT INTO {SESSIONS.table} (session_id, at, span_seconds, {", ".join(SESSIONS.measures)})
    SELECT session_id, n.at, n.span_seconds, {", ".join(f"m.{name}" for name in SESSIONS.measures)}
    FROM json_to_recordset(%(rows)s) AS n(server_id bigint, at timestamptz, span_seconds integer, sessions json)
    CROSS JOIN LATERAL json_to_recordset(n.sessions) AS m(session_id bigint, {_shape(SESSIONS)})
    JOIN known USING (session_id, server_id)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of ours
ADD_SERVER_SAMPLES = f"""
    INSERT INTO {SERVERS.table} (server_id, at, span_seconds, {", ".join(SERVERS.measures)})
    SELECT n.server_id, n.at, n.span_seconds, {", ".join(f"m.{name}" for name in SERVERS.measures)}
    FROM json_to_recordset(%(rows)s) AS n(server_id bigint, at timestamptz, span_seconds integer, host json)
    CROSS JOIN LATERAL json_to_record(n.host) AS m({_shape(SERVERS)})
    WHERE n.host IS NOT NULL AND json_typeof(n.host) = 'object'
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - the same


def _put_together(series: Series) -> str:
    """Return the statement that puts whole steps of the oldest rows together.

    All rows of a step go at once, so a step is never half of the rows that it had. Their owners are locked first, as
    their deletion does it, so that neither waits for the other in a circle.
    """
    key, table = series.key, series.table
    return f"""
        WITH oldest AS (
            SELECT {key}, at FROM {table} WHERE span_seconds < {KEPT_STEP_S} AND at < :before ORDER BY at LIMIT :limit
        ), owners AS MATERIALIZED (
            SELECT {key} FROM {series.owners} WHERE {key} IN (SELECT {key} FROM oldest) ORDER BY {key} FOR KEY SHARE
        ), due AS (
            SELECT DISTINCT {key}, date_bin('{KEPT_STEP_S} s', at, 'epoch') AS step
            FROM oldest JOIN owners USING ({key})
        ), taken AS (
            DELETE FROM {table} t USING due
            WHERE t.{key} = due.{key} AND t.at >= due.step AND t.at < due.step + interval '{KEPT_STEP_S} s'
                AND t.span_seconds < {KEPT_STEP_S}
            RETURNING due.step, t.*
        ), kept AS (
            INSERT INTO {table} ({key}, at, span_seconds, {", ".join(series.columns)})
            SELECT {key}, step, {KEPT_STEP_S}, {series.aggregates} FROM taken GROUP BY {key}, step
            ON CONFLICT DO NOTHING
        )
        SELECT count(*) FROM taken
    """  # noqa: S608 - the same


def _forget(series: Series) -> str:
    return f"""
        WITH old AS (
            DELETE FROM {series.table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {series.table} WHERE span_seconds = {KEPT_STEP_S} AND at < :before LIMIT :limit
                FOR UPDATE SKIP LOCKED))
            RETURNING 1
        )
        SELECT count(*) FROM old
    """  # noqa: S608 - the same


def _read(series: Series) -> str:
    return f"""
        SELECT date_bin(make_interval(secs => %(step_s)s), at, 'epoch') AS step, {series.aggregates}
        FROM {series.table} WHERE {series.key} = %(key)s AND at >= %(since)s AND at < %(until)s
        GROUP BY step ORDER BY step
    """  # noqa: S608 - the same


_PUT_TOGETHER = {series: text(_put_together(series)) for series in (SESSIONS, SERVERS)}
_FORGET = {series: text(_forget(series)) for series in (SESSIONS, SERVERS)}
_READ = {series: _read(series) for series in (SESSIONS, SERVERS)}


class Samples:
    """Samples within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def put_together(self, series: Series, *, before: datetime, limit: int) -> int:
        """Put the steps of at least the `limit` oldest rows from before that time together; return how many rows went.

        `before` is where a step begins.
        """
        return await self._db.scalar(_PUT_TOGETHER[series], {"before": before, "limit": limit}) or 0

    async def delete_old(self, series: Series, *, before: datetime, limit: int) -> int:
        """Delete at most `limit` of the steps from before that time; return how many."""
        return await self._db.scalar(_FORGET[series], {"before": before, "limit": limit}) or 0


@dataclass(frozen=True)
class Point:
    """What a series was in one step, from `at` on: the mean of each measure, and the `..._peak` of some."""

    at: datetime
    values: Mapping[str, Any]
    """What is known, by the name of its column."""


class SampleReads:
    """Series, without a transaction."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    async def of_session(self, session_id: int, window: Window) -> Sequence[Point]:
        """Return the points of a session that there are, the oldest first."""
        return await self._points(SESSIONS, session_id, window)

    async def of_server(self, server_id: int, window: Window) -> Sequence[Point]:
        """Return the points of a host that there are, the oldest first."""
        return await self._points(SERVERS, server_id, window)

    async def _points(self, series: Series, key: int, window: Window) -> Sequence[Point]:
        values = {"key": key, "since": window.since, "until": window.until, "step_s": window.step_s}
        rows = await self._reader.execute(_READ[series], values)
        return [Point(row[0], _known(series.columns, row[1:])) for row in rows]


def _known(columns: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(columns, values, strict=True) if value is not None}
