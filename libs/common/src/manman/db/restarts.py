"""Queries about restarts: which ends are undecided, what was decided, what is due.

Whoever writes here holds the lock of the deployment, as whoever starts a session does: so a decision and a start never
cross. What to decide is `manman.domain.restarts`'; here is what that needs to know.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, CursorResult, case, delete, select, true, update
from sqlalchemy.dialects.postgresql import insert

from manman.db.models import DeploymentRestart, GameConfig, Server, ServerGameConfig, Session
from manman.domain.configs import RestartPolicy
from manman.domain.hosts import HostStatus
from manman.domain.restarts import ALWAYS, RESTARTING, RestartState
from manman.domain.sessions import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.models.run_settings import RunSettings
    from manman.domain.restarts import Limits


_POLICY: ColumnElement[str] = case(
    (ServerGameConfig.restart_policy != "", ServerGameConfig.restart_policy), else_=GameConfig.restart_policy
)
"""The policy in force: the deployment's, else its config's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Undecided:
    """A deployment whose last session ended and nobody decided about; its policy, or its config's."""

    sgc_id: int
    policy: RestartPolicy


class Restarts:
    """Restarts within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def lock_undecided(self, *, known_after: datetime, limit: int) -> list[Undecided]:
        """Lock deployments with a restart policy whose newest session ended by itself, and was not decided about.

        Only ends that the control plane heard of after `known_after` count.
        Locked ones are skipped. Look at the newest session again: another may have been started before the lock.
        """
        newest = (
            select(Session.session_id, Session.status, Session.last_event_at, Session.stop_requested_at)
            .where(Session.sgc_id == ServerGameConfig.sgc_id)
            .order_by(Session.session_id.desc())
            .limit(1)
            .lateral()
        )
        ended = (newest.c.status == Status.CRASHED) | ((newest.c.status == Status.COMPLETED) & (_POLICY == ALWAYS))
        query = (
            select(ServerGameConfig, GameConfig)
            .join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
            .join(newest, true())
            .outerjoin(DeploymentRestart, DeploymentRestart.sgc_id == ServerGameConfig.sgc_id)
            .where(
                _POLICY.in_(RESTARTING),
                ended,
                newest.c.last_event_at > known_after,
                newest.c.stop_requested_at.is_(None),
                DeploymentRestart.session_id.is_distinct_from(newest.c.session_id),
            )
            .order_by(ServerGameConfig.sgc_id)
            .limit(limit)
            .with_for_update(key_share=True, of=ServerGameConfig, skip_locked=True)
        )
        rows = await self._db.execute(query)
        return [Undecided(deployment.sgc_id, policy_of(deployment, config)) for deployment, config in rows]

    async def history(self, sgc_id: int, *, limit: int) -> Sequence[Session]:
        """Return the deployment's sessions, newest first, as they are now."""
        query = select(Session).where(Session.sgc_id == sgc_id).order_by(Session.session_id.desc()).limit(limit)
        return (await self._db.scalars(query.execution_options(populate_existing=True))).all()

    async def decide(
        self,
        *,
        sgc_id: int,
        session_id: int,
        state: RestartState,
        attempt: int,
        limits: Limits,
        due_at: datetime | None = None,
        reason: str = "",
    ) -> None:
        """Record what becomes of the deployment after the end of that session, in place of what was recorded before."""
        values = {
            "session_id": session_id,
            "state": state.value,
            "attempt": attempt,
            "max_attempts": limits.max_attempts,
            "window_seconds": round(limits.window.total_seconds()),
            "due_at": due_at,
            "reason": reason,
        }
        query = insert(DeploymentRestart).values(sgc_id=sgc_id, **values)
        await self._db.execute(query.on_conflict_do_update(index_elements=[DeploymentRestart.sgc_id], set_=values))

    async def of(self, sgc_ids: Collection[int]) -> dict[int, DeploymentRestart]:
        """Return what was decided about each deployment, by its id; most have nothing."""
        query = select(DeploymentRestart).where(DeploymentRestart.sgc_id.in_(sgc_ids))
        rows = await self._db.scalars(query.execution_options(populate_existing=True))
        return {row.sgc_id: row for row in rows}

    async def lock_due(self, now: datetime) -> DeploymentRestart | None:
        """Lock the deployment, and its host, whose restart is due for longest and can be had; None when there is none.

        A host that is offline or draining starts nothing: what is due there waits. Locked ones are skipped.
        """
        query = (
            select(DeploymentRestart.sgc_id)
            .join(ServerGameConfig, ServerGameConfig.sgc_id == DeploymentRestart.sgc_id)
            .join(Server, Server.server_id == ServerGameConfig.server_id)
            .where(
                DeploymentRestart.state == RestartState.WAITING,
                DeploymentRestart.due_at <= now,
                Server.status == HostStatus.ONLINE,
                ~Server.draining,
                ~Server.host_draining,
            )
            .order_by(DeploymentRestart.due_at)
            .limit(1)
            .with_for_update(key_share=True, of=(ServerGameConfig, Server), skip_locked=True)
        )
        while (sgc_id := await self._db.scalar(query)) is not None:
            row = (await self.of([sgc_id])).get(sgc_id)
            if row is not None and row.state == RestartState.WAITING:
                return row  # else somebody was faster than the lock
        return None

    async def policy(self, sgc_id: int) -> str:
        """Return the policy in force: the deployment's, else its config's."""
        query = select(_POLICY).join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
        return str(await self._db.scalar(query.where(ServerGameConfig.sgc_id == sgc_id)) or "")

    async def give_up(self, *, session_id: int, reason: str) -> bool:
        """Let the restart that waits after that session not be; return whether there was one."""
        query = (
            update(DeploymentRestart)
            .where(DeploymentRestart.session_id == session_id, DeploymentRestart.state == RestartState.WAITING)
            .values(state=RestartState.GIVEN_UP.value, reason=reason[:2000])
        )
        return await self._changed(query) > 0

    async def give_up_overdue(self, *, due_before: datetime, reason: str) -> int:
        """Let restarts not be that were due before then and still wait; return how many."""
        query = (
            update(DeploymentRestart)
            .where(DeploymentRestart.state == RestartState.WAITING, DeploymentRestart.due_at < due_before)
            .values(state=RestartState.GIVEN_UP.value, reason=reason)
        )
        return await self._changed(query)

    async def forget(self, sgc_id: int) -> None:
        """Remove what was decided about a deployment: it is started, or nothing is to be decided."""
        await self._changed(delete(DeploymentRestart).where(DeploymentRestart.sgc_id == sgc_id))

    async def _changed(self, query: object) -> int:
        result = await self._db.execute(query, execution_options={"synchronize_session": False})  # type: ignore[call-overload] # an update or a delete
        return result.rowcount if isinstance(result, CursorResult) else 0


def policy_of(deployment: ServerGameConfig, config: GameConfig) -> RestartPolicy:
    """Return the policy in force: the deployment's as a whole when it has one, else its config's."""
    row: RunSettings = deployment if deployment.restart_policy else config
    return RestartPolicy(
        policy=row.restart_policy,
        max_attempts=row.restart_max_attempts,
        window_s=row.restart_window_seconds,
        backoff_s=row.restart_backoff_seconds,
    )
