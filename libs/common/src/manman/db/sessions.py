"""Queries about sessions, for decisions; what is told about them is a run (`manman.db.runs`).

Nothing here changes a status: `manman.db.transitions` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from manman.db.models import GameConfig, LogStreamDeletion, Server, ServerGameConfig, Session, SessionCrashRecord
from manman.domain.hosts import HostStatus
from manman.domain.sessions import LIVE, Status
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession


class Sessions:
    """Sessions within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session
        self._locked: dict[int, Session] = {}

    async def get(self, session_id: int) -> Session:
        """Return the session; raise `NotFound`."""
        row = await self._db.get(Session, session_id)
        if row is None:
            raise NotFound("session", session_id)
        return row

    async def lock(self, session_id: int) -> Session:
        """Return the session, locked until the end of the transaction; raise `NotFound`."""
        if session_id not in self._locked:
            await self.lock_all([session_id])
        if session_id not in self._locked:
            raise NotFound("session", session_id)
        return self._locked[session_id]

    async def lock_all(self, session_ids: Collection[int]) -> dict[int, Session]:
        """Lock the sessions that exist, in id order (so that two batches never wait for each other in a circle)."""
        query = select(Session).where(Session.session_id.in_(session_ids)).order_by(Session.session_id)
        rows = await self._db.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True))
        found = {row.session_id: row for row in rows}
        self._locked |= found
        return found

    async def lock_live_of(self, sgc_id: int) -> Sequence[Session]:
        """Return the live sessions of a deployment (at most one), locked."""
        query = select(Session).where(Session.sgc_id == sgc_id, Session.status.in_(LIVE)).order_by(Session.session_id)
        rows = await self._db.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True))
        return rows.all()

    async def count_by_status(self, statuses: Collection[str]) -> dict[str, int]:
        """Return how many sessions there are in each of these states."""
        query = select(Session.status, func.count()).where(Session.status.in_(statuses)).group_by(Session.status)
        return {row[0]: row[1] for row in await self._db.execute(query)}

    async def lock_silent(
        self,
        *,
        statuses: Collection[str],
        silent_since: datetime,
        on_hosts: str | None = None,
        offline_since: datetime | None = None,
        past_deadline: datetime | None = None,
        limit: int = 500,
    ) -> Sequence[Session]:
        """Lock sessions in these states without news since a time; the other arguments narrow it down.

        `on_hosts`: the host is in this state, and stays in it until the end of the transaction. `offline_since`: it has
        been offline since before that time. On online hosts nothing counts as silence before they came online.
        `past_deadline`: the start's deadline was before that time, or there is none. Rows that somebody else holds
        are skipped: the next sweep meets them.
        """
        news: ColumnElement[datetime] = func.coalesce(Session.last_event_at, Session.created_at)
        if on_hosts == HostStatus.ONLINE:
            news = func.greatest(news, Server.status_since)
        query = (
            select(Session)
            .join(ServerGameConfig, ServerGameConfig.sgc_id == Session.sgc_id)
            .join(Server, Server.server_id == ServerGameConfig.server_id)
            .where(Session.status.in_(statuses), news < silent_since)
            .order_by(Session.session_id)
            .limit(limit)
            .with_for_update(key_share=True, of=(Session, Server) if on_hosts else Session, skip_locked=True)
        )
        if on_hosts is not None:
            query = query.where(Server.status == on_hosts)
        if past_deadline is not None:
            query = query.where(func.coalesce(Session.deadline_at, past_deadline) <= past_deadline)
        if offline_since is not None:
            query = query.where(func.coalesce(Server.status_since, Server.last_seen) < offline_since)
        return (await self._db.scalars(query.execution_options(populate_existing=True))).all()

    async def lost(
        self,
        *,
        sgc_id: int | None = None,
        server_id: int | None = None,
        game_config_id: int | None = None,
        game_id: int | None = None,
        limit: int,
    ) -> Sequence[Session]:
        """Return the lost sessions below a deployment, host, config or game, newest first."""
        query = (
            select(Session)
            .join(ServerGameConfig, ServerGameConfig.sgc_id == Session.sgc_id)
            .join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
            .where(Session.status == Status.LOST, *_below(sgc_id, server_id, game_config_id, game_id))
            .order_by(Session.session_id.desc())
            .limit(limit)
        )
        return (await self._db.scalars(query)).all()

    async def count_live(
        self,
        *,
        sgc_id: int | None = None,
        server_id: int | None = None,
        game_config_id: int | None = None,
        game_id: int | None = None,
    ) -> int:
        """Return how many live sessions hang below a deployment, host, config or game: those block its deletion."""
        query = (
            select(func.count())
            .select_from(Session)
            .join(ServerGameConfig, ServerGameConfig.sgc_id == Session.sgc_id)
            .join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
            .where(Session.status.in_(LIVE), *_below(sgc_id, server_id, game_config_id, game_id))
        )
        return int(await self._db.scalar(query) or 0)

    async def add(
        self,
        *,
        sgc_id: int,
        now: datetime,
        parameters: Mapping[str, str] | None = None,
        deadline_at: datetime | None = None,
        **columns: Any,  # noqa: ANN401 - columns of the table
    ) -> Session:
        """Insert a session that is `pending`; raise `Conflict` when the deployment has a live one."""
        await self._db.flush()  # what was superseded in this transaction must be so before the insert
        row = Session(
            sgc_id=sgc_id,
            status=Status.PENDING.value,
            parameters=dict(parameters or {}),
            deadline_at=deadline_at,
            created_at=now,
            **columns,
        )
        self._db.add(row)
        await self._db.flush()
        return row

    async def live_ids(self, sgc_ids: Collection[int]) -> dict[int, int]:
        """Return the id of the live session of each deployment that has one."""
        query = select(Session.sgc_id, Session.session_id).where(Session.sgc_id.in_(sgc_ids), Session.status.in_(LIVE))
        return {row.sgc_id: row.session_id for row in await self._db.execute(query)}

    async def crash_lines(self, session_id: int) -> Sequence[dict[str, Any]]:
        """Return the last lines kept with a crash; none are known of every crash."""
        row = await self._db.get(SessionCrashRecord, session_id)
        return row.lines if row else []

    async def add_crash_record(self, session_id: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keep the last lines of a crash, unless some are kept already: a report may come twice."""
        values = {"session_id": session_id, "lines": list(lines)}
        await self._db.execute(insert(SessionCrashRecord).values(values).on_conflict_do_nothing())

    async def ended_with_stream(self, *, ended_before: datetime, limit: int = 200) -> Sequence[Session]:
        """Lock ended sessions whose log stream is still kept although they ended before that time."""
        query = (
            select(Session)
            .where(
                Session.status.not_in(LIVE), Session.ended_at < ended_before, Session.log_stream_deleted_at.is_(None)
            )
            .order_by(Session.ended_at)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
        )
        return (await self._db.scalars(query)).all()

    async def deleted_with_stream(self, *, limit: int = 200) -> Sequence[LogStreamDeletion]:
        """Lock the notes about sessions that are deleted while their log streams are not."""
        query = select(LogStreamDeletion).order_by(LogStreamDeletion.session_id).limit(limit)
        return (await self._db.scalars(query.with_for_update(skip_locked=True))).all()

    async def forget_stream(self, note: LogStreamDeletion) -> None:
        """Remove the note: the stream of that deleted session is gone."""
        await self._db.delete(note)


def _below(
    sgc_id: int | None, server_id: int | None, game_config_id: int | None, game_id: int | None
) -> list[ColumnElement[bool]]:
    wanted = (
        (sgc_id, Session.sgc_id == sgc_id),
        (server_id, ServerGameConfig.server_id == server_id),
        (game_config_id, ServerGameConfig.game_config_id == game_config_id),
        (game_id, GameConfig.game_id == game_id),
    )
    return [clause for asked, clause in wanted if asked]
