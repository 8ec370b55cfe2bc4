"""Runs: sessions as they are told to people and programs, each with where it runs. They are for reading only.

Long lists of them are asked for all the time, so a run is one flat row with what is told and nothing else, in the form
in which it is told. Decisions are made from sessions (`manman.db.sessions`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Integer, Text, any_, bindparam, case, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from manman.db.models import Server, ServerGameConfig, Session
from manman.db.reading import Read
from manman.domain.ports import PortBinding, connect_addresses
from manman.domain.sessions import LIVE
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

    from manman.db.reading import Reader
    from manman.domain.ports import ConnectAddress


class Run(NamedTuple):
    """A session and where it runs. NULL is the empty value of its type, times are Unix seconds, 0 is never.

    An ended session has no `host_address`, and its `port_bindings` are None: nobody reaches it any more.
    """

    session_id: int
    sgc_id: int
    server_id: int
    status: str
    created_at: int
    started_at: int
    ended_at: int
    last_event_at: int
    stop_requested_at: int
    exit_code: int
    exit_signal: int
    oom_killed: bool
    parameters: dict[str, str]
    restored_from_backup_id: int
    status_reason: str
    status_message: str
    phase: str
    progress_percent: int
    restart_of_session_id: int
    restart_attempt: int
    host_address: str
    port_bindings: Sequence[dict[str, Any]] | None

    @property
    def addresses(self) -> tuple[ConnectAddress, ...]:
        """Where players reach it."""
        bindings = self.port_bindings or ()
        return connect_addresses(self.host_address, [PortBinding(**binding) for binding in bindings])


# Written into the SQL: as parameters they would be sent anew with each read.
_ZERO = literal_column("0", Integer)
_EMPTY = literal_column("''", Text)


def _seconds(moment: InstrumentedAttribute[Any]) -> ColumnElement[int]:
    return func.coalesce(cast(func.floor(func.extract("epoch", moment)), BigInteger), _ZERO)


def _number(column: InstrumentedAttribute[Any]) -> ColumnElement[int]:
    return func.coalesce(column, _ZERO)


def _text(column: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    return func.coalesce(column, _EMPTY)


_IS_LIVE = Session.status == any_(bindparam("live", sorted(LIVE), type_=ARRAY(Text)))
_HOST_ADDRESS = func.coalesce(Server.public_address, Server.announced_address, Server.name)
"""Where players find a host: `Server.address`, else its name."""
_RUNS = (
    select(
        Session.session_id,
        Session.sgc_id,
        ServerGameConfig.server_id,
        Session.status,
        _seconds(Session.created_at),
        _seconds(Session.started_at),
        _seconds(Session.ended_at),
        _seconds(Session.last_event_at),
        _seconds(Session.stop_requested_at),
        _number(Session.exit_code),
        _number(Session.exit_signal),
        Session.oom_killed,
        Session.parameters,
        _number(Session.restored_from_backup_id),
        _text(Session.status_reason),
        _text(Session.status_message),
        _text(Session.phase),
        Session.progress_percent,
        _number(Session.restart_of_session_id),
        Session.restart_attempt,
        case((_IS_LIVE, _HOST_ADDRESS), else_=_EMPTY),
        case((_IS_LIVE, ServerGameConfig.port_bindings)),
    )
    .select_from(Session)
    .join(ServerGameConfig, ServerGameConfig.sgc_id == Session.sgc_id)
    .join(Server, Server.server_id == ServerGameConfig.server_id)
)
"""The columns of a `Run`, in its order."""
_ONE = _RUNS.where(Session.session_id == bindparam("session_id"))
_READ_ONE = Read(_ONE)
_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "sgc_id": Session.sgc_id == bindparam("sgc_id"),
    "server_id": ServerGameConfig.server_id == bindparam("server_id"),
    "statuses": Session.status == any_(bindparam("statuses", type_=ARRAY(Text))),
    "live_only": _IS_LIVE,
    "started_after": Session.started_at > bindparam("started_after"),
    "started_before": Session.started_at < bindparam("started_before"),
}


@functools.cache
def _listed(filters: frozenset[str]) -> Read[*tuple[Any, ...]]:
    """Return the read with these of the filters: one SQL text for each set of them."""
    clauses = [clause for name, clause in _FILTERS.items() if name in filters]
    newest_first = _RUNS.where(*clauses).order_by(Session.session_id.desc())
    return Read(newest_first.limit(bindparam("limit")).offset(bindparam("offset")))


class Runs:
    """Runs as one transaction leaves them."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def get(self, session_id: int) -> Run:
        """Return the run with what was changed so far; raise `NotFound`."""
        found = (await self._db.execute(_ONE, {"session_id": session_id})).first()
        if found is None:
            raise NotFound("session", session_id)
        return Run._make(found)


class RunReads:
    """Runs, without a transaction."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    async def get(self, session_id: int) -> Run:
        """Return the run; raise `NotFound`."""
        found = await self._reader.first(_READ_ONE, session_id=session_id)
        if found is None:
            raise NotFound("session", session_id)
        return Run._make(found)

    async def list(
        self,
        *,
        sgc_id: int = 0,
        server_id: int = 0,
        statuses: Collection[str] = (),
        live_only: bool = False,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[Run]:
        """Return runs, newest first. Filters that are given must all hold."""
        filters = {
            "sgc_id": sgc_id,
            "server_id": server_id,
            "statuses": list(statuses),
            "live_only": live_only,
            "started_after": started_after,
            "started_before": started_before,
        }
        given = {name: value for name, value in filters.items() if value}
        found = await self._reader.all(_listed(frozenset(given)), **given, limit=limit, offset=offset)
        return list(map(Run._make, found))
