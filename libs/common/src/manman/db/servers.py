"""Queries about hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, delete, func, select, text, true, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased

from manman.db.models import Server, ServerCapability
from manman.db.reading import Read
from manman.domain.hosts import HostStatus
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.reading import Reader

KEPT_CAPABILITIES = 100
"""So many capability rows of a host are kept: at one a minute, more than an hour and a half."""

_DEFAULT_LOCK = 0x6D616E6D_01
"""Advisory lock of the transaction that decides which host is the default one."""


class Servers:
    """Hosts within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session
        self._locked: dict[int, Server] = {}

    async def get(self, server_id: int) -> Server:
        """Return the host; raise `NotFound`."""
        row = await self._db.get(Server, server_id)
        if row is None:
            raise NotFound("server", server_id)
        return row

    async def lock(self, server_id: int) -> Server:
        """Return the host, locked until the end of the transaction; raise `NotFound`."""
        if server_id not in self._locked:
            await self.lock_all([server_id])
        if server_id not in self._locked:
            raise NotFound("server", server_id)
        return self._locked[server_id]

    async def lock_all(self, server_ids: Collection[int]) -> dict[int, Server]:
        """Lock the hosts that exist, in id order; return them by id."""
        query = (
            select(Server)
            .where(Server.server_id.in_(server_ids))
            .order_by(Server.server_id)
            .with_for_update(key_share=True)
        )
        rows = await self._db.scalars(query.execution_options(populate_existing=True))
        found = {row.server_id: row for row in rows}
        self._locked |= found
        return found

    async def lock_to_make_default(self, server_id: int) -> Server:
        """Return the host, locked together with the one that is the default now; raise `NotFound`.

        What chooses the default is locked before any host, and hosts in id order: as everybody else does it.
        """
        await self._lock_default()
        default = await self._db.scalar(select(Server.server_id).where(Server.is_default))
        await self.lock_all({server_id} if default is None else {server_id, default})
        return await self.lock(server_id)

    async def by_ids(self, server_ids: Collection[int]) -> dict[int, Server]:
        """Return the hosts that exist, by id."""
        rows = await self._db.scalars(select(Server).where(Server.server_id.in_(server_ids)))
        return {row.server_id: row for row in rows}

    async def ids(self) -> Sequence[int]:
        """Return the ids of all hosts, in their order."""
        return (await self._db.scalars(select(Server.server_id).order_by(Server.server_id))).all()

    async def by_name(self, name: str) -> Server | None:
        """Return the host of that name."""
        return await self._db.scalar(select(Server).where(Server.name == name))

    async def get_default(self) -> Server | None:
        """Return the default host."""
        return await self._db.scalar(select(Server).where(Server.is_default))

    async def add(self, *, name: str, **columns: Any) -> Server:  # noqa: ANN401 - columns of the table
        """Insert a host; the first one becomes the default. Raise `AlreadyExists`."""
        await self._lock_default()
        first = await self._db.scalar(select(Server.server_id).limit(1)) is None
        row = Server(name=name, is_default=first, **columns)
        self._db.add(row)
        await self._db.flush()
        return row

    async def register(
        self, *, name: str, now: datetime, environment: str = "", features: Sequence[str] = (), public_address: str = ""
    ) -> Server:
        """Create or reuse the host of that name, locked; its status stays (a new one is offline) for the caller to set.

        Safe to repeat and to race.
        """
        await self._lock_default()
        query = select(Server).where(Server.name == name).with_for_update(key_share=True)
        row = await self._db.scalar(query.execution_options(populate_existing=True))
        if row is None:
            row = await self.add(name=name)
        row.last_seen = now
        row.features = list(features)
        row.announced_address = public_address or row.announced_address
        row.environment = environment or row.environment
        await self._db.flush()
        return row

    async def make_default(self, row: Server) -> None:
        """Make this host, locked by `lock_to_make_default`, the default instead of the one that is."""
        await self._lock_default()
        await self._db.execute(
            update(Server).where(Server.is_default, Server.server_id != row.server_id).values(is_default=False)
        )
        row.is_default = True
        await self._db.flush()

    async def delete(self, server_id: int) -> bool:
        """Delete the host and everything below it; tell whether it was there."""
        query = delete(Server).where(Server.server_id == server_id).returning(Server.server_id)
        return await self._db.scalar(query) is not None

    async def add_capability(self, server_id: int, *, now: datetime, values: Mapping[str, Any]) -> ServerCapability:
        """Record what the host offers now, and forget all but its newest rows."""
        row = ServerCapability(server_id=server_id, recorded_at=now, **values)
        self._db.add(row)
        await self._db.flush()
        newest = (
            select(ServerCapability.capability_id)
            .where(ServerCapability.server_id == server_id)
            .order_by(ServerCapability.recorded_at.desc(), ServerCapability.capability_id.desc())
            .limit(KEPT_CAPABILITIES)
        )
        await self._db.execute(
            delete(ServerCapability).where(
                ServerCapability.server_id == server_id, ServerCapability.capability_id.not_in(newest)
            ),
            execution_options={"synchronize_session": False},
        )
        return row

    async def capabilities(self, server_ids: Collection[int]) -> dict[int, ServerCapability]:
        """Return the newest capabilities of each of these hosts, by host id."""
        query = (
            select(ServerCapability)
            .ext(distinct_on(ServerCapability.server_id))
            .where(ServerCapability.server_id.in_(server_ids))
            .order_by(
                ServerCapability.server_id,
                ServerCapability.recorded_at.desc(),
                ServerCapability.capability_id.desc(),
            )
        )
        return {row.server_id: row for row in await self._db.scalars(query)}

    async def capability_history(self, server_id: int, *, limit: int) -> Sequence[ServerCapability]:
        """Return what the host offered, newest first."""
        query = (
            select(ServerCapability)
            .where(ServerCapability.server_id == server_id)
            .order_by(ServerCapability.recorded_at.desc(), ServerCapability.capability_id.desc())
            .limit(limit)
        )
        return (await self._db.scalars(query)).all()

    async def count_by_status(self) -> dict[str, int]:
        """Return how many hosts there are in each state."""
        rows = await self._db.execute(select(Server.status, func.count()).group_by(Server.status))
        return {row[0]: row[1] for row in rows}

    async def mark_stale(self, *, silent_since: datetime, now: datetime) -> Sequence[Server]:
        """Set every online host that was last seen before `silent_since` offline; return them.

        A host whose row somebody holds is skipped: most likely it is being heard of. Two sweeps at once share them.
        """
        silent = (
            select(Server.server_id)
            .where(Server.status == HostStatus.ONLINE, Server.last_seen < silent_since)
            .order_by(Server.server_id)
            .with_for_update(key_share=True, skip_locked=True)
        )
        query = (
            update(Server)
            .where(Server.server_id.in_(silent))
            .values(status=HostStatus.OFFLINE.value, status_since=now)
            .returning(Server)
        )
        rows = await self._db.scalars(
            query, execution_options={"synchronize_session": False, "populate_existing": True}
        )
        return sorted(rows, key=lambda row: row.server_id)

    async def _lock_default(self) -> None:
        await self._db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DEFAULT_LOCK})


def _hosts() -> Select[Server, ServerCapability]:
    newest = aliased(
        ServerCapability,
        select(ServerCapability)
        .where(ServerCapability.server_id == Server.server_id)
        .order_by(ServerCapability.recorded_at.desc(), ServerCapability.capability_id.desc())
        .limit(1)
        .lateral("newest"),
    )
    return select(Server, newest).outerjoin(newest, true())


_ONE_HOST = Read(_hosts().where(Server.server_id == bindparam("server_id")))
_HOSTS = Read(_hosts().order_by(Server.server_id).limit(bindparam("limit")).offset(bindparam("offset")))


class ServerReads:
    """Hosts, each with the newest of what it said it offers; None when it never did."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    async def get(self, server_id: int) -> tuple[Server, ServerCapability | None]:
        """Return the host; raise `NotFound`."""
        found = await self._reader.first(_ONE_HOST, server_id=server_id)
        if found is None:
            raise NotFound("server", server_id)
        return found

    async def list(self, *, limit: int, offset: int) -> Sequence[tuple[Server, ServerCapability | None]]:
        """Return hosts by id."""
        return await self._reader.all(_HOSTS, limit=limit, offset=offset)
