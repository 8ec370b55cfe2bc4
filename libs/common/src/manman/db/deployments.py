"""Queries about deployments (`server_game_configs`)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from manman.db.models import GameConfig, ServerGameConfig
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a deployment is made of: the ids that events about its sessions carry."""

    sgc_id: int
    server_id: int
    game_config_id: int
    game_id: int


class Deployments:
    """Deployments within one transaction. A loaded deployment comes with its parameters."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session
        self._origins: dict[int, Origin] = {}

    async def get(self, sgc_id: int) -> ServerGameConfig:
        """Return the deployment; raise `NotFound`."""
        row = await self._db.get(ServerGameConfig, sgc_id)
        if row is None:
            raise NotFound("deployment", sgc_id)
        return row

    async def lock(self, sgc_id: int) -> ServerGameConfig:
        """Return the deployment, locked until the end of the transaction; raise `NotFound`."""
        found = await self.lock_all([sgc_id])
        if sgc_id not in found:
            raise NotFound("deployment", sgc_id)
        return found[sgc_id]

    async def lock_all(self, sgc_ids: Collection[int]) -> dict[int, ServerGameConfig]:
        """Lock the deployments that exist, in id order; return them by id."""
        query = (
            select(ServerGameConfig)
            .where(ServerGameConfig.sgc_id.in_(sgc_ids))
            .order_by(ServerGameConfig.sgc_id)
            .with_for_update(key_share=True)
        )
        rows = await self._db.scalars(query.execution_options(populate_existing=True))
        return {row.sgc_id: row for row in rows}

    async def lock_below(
        self, *, server_id: int | None = None, game_config_id: int | None = None, game_id: int | None = None
    ) -> None:
        """Lock the deployments below a host, config or game in id order: nobody starts a session there meanwhile."""
        query = (
            select(ServerGameConfig.sgc_id)
            .order_by(ServerGameConfig.sgc_id)
            .with_for_update(key_share=True, of=ServerGameConfig)
        )
        if server_id is not None:
            query = query.where(ServerGameConfig.server_id == server_id)
        if game_config_id is not None:
            query = query.where(ServerGameConfig.game_config_id == game_config_id)
        if game_id is not None:
            query = query.join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id).where(
                GameConfig.game_id == game_id
            )
        await self._db.execute(query)

    async def list(
        self,
        *,
        server_id: int | None = None,
        game_config_id: int | None = None,
        game_id: int | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[ServerGameConfig]:
        """Return deployments by id."""
        query = select(ServerGameConfig).order_by(ServerGameConfig.sgc_id).limit(limit).offset(offset)
        if server_id:
            query = query.where(ServerGameConfig.server_id == server_id)
        if game_config_id:
            query = query.where(ServerGameConfig.game_config_id == game_config_id)
        if game_id:
            query = query.join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id).where(
                GameConfig.game_id == game_id
            )
        return (await self._db.scalars(query)).all()

    async def add(
        self,
        *,
        server_id: int,
        game_config_id: int,
        port_bindings: Sequence[Mapping[str, Any]] = (),
        parameters: Mapping[str, str] | None = None,
        status: str = "active",
        **columns: Any,  # noqa: ANN401 - columns of the table
    ) -> ServerGameConfig:
        """Insert a deployment; raise `AlreadyExists`, or `NotFound` for host or config. Reserve its ports as well."""
        row = ServerGameConfig(
            server_id=server_id,
            game_config_id=game_config_id,
            port_bindings=[dict(binding) for binding in port_bindings],
            status=status,
            parameter_values=[],
            **columns,
        )
        row.parameters = dict(parameters or {})
        self._db.add(row)
        await self._db.flush()
        return row

    async def delete(self, sgc_id: int) -> bool:
        """Delete the deployment and everything below it, ports included; tell whether it was there."""
        query = delete(ServerGameConfig).where(ServerGameConfig.sgc_id == sgc_id).returning(ServerGameConfig.sgc_id)
        return await self._db.scalar(query, execution_options={"synchronize_session": False}) is not None

    async def origins(self, sgc_ids: Collection[int]) -> dict[int, Origin]:
        """Return host, config and game of each deployment, by its id; asked once per transaction."""
        missing = set(sgc_ids) - self._origins.keys()
        if missing:
            query = (
                select(
                    ServerGameConfig.sgc_id,
                    ServerGameConfig.server_id,
                    ServerGameConfig.game_config_id,
                    GameConfig.game_id,
                )
                .join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
                .where(ServerGameConfig.sgc_id.in_(missing))
            )
            for sgc_id, server_id, config_id, game_id in await self._db.execute(query):
                self._origins[sgc_id] = Origin(sgc_id, server_id, config_id, game_id)
        return {sgc_id: self._origins[sgc_id] for sgc_id in sgc_ids if sgc_id in self._origins}

    async def origin(self, sgc_id: int) -> Origin:
        """Return host, config and game of the deployment; raise `NotFound`."""
        found = await self.origins([sgc_id])
        if sgc_id not in found:
            raise NotFound("deployment", sgc_id)
        return found[sgc_id]
