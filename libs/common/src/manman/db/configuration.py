"""Queries about configuration strategies, the patches that refine them and the bindings of parameters."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, select, tuple_

from manman.db.models import (
    ConfigurationPatch,
    ConfigurationStrategy,
    GameConfigVolume,
    ParameterDefinition,
    StrategyParameterBinding,
)
from manman.domain.configuration.strategies import LEVELS
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

_LEVEL_ORDER = case({level: position for position, level in enumerate(LEVELS)}, value=ConfigurationPatch.patch_level)


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedPatch:
    """A patch, and the container path of the volume that it puts the file on ("" for none)."""

    row: ConfigurationPatch
    container_path: str


@dataclasses.dataclass(frozen=True, slots=True)
class BoundParameter:
    """A binding, and the key of its parameter."""

    row: StrategyParameterBinding
    key: str


class Configuration:
    """Strategies, patches and bindings within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def strategy(self, strategy_id: int) -> ConfigurationStrategy:
        """Return the strategy; raise `NotFound`."""
        row = await self._db.get(ConfigurationStrategy, strategy_id)
        if row is None:
            raise NotFound("configuration strategy", strategy_id)
        return row

    async def lock_strategy(self, strategy_id: int) -> ConfigurationStrategy:
        """Return the strategy, locked until the end of the transaction; raise `NotFound`."""
        query = select(ConfigurationStrategy).where(ConfigurationStrategy.strategy_id == strategy_id)
        row = await self._db.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))
        if row is None:
            raise NotFound("configuration strategy", strategy_id)
        return row

    async def strategies(self, game_id: int) -> Sequence[ConfigurationStrategy]:
        """Return the strategies of a game in the order in which they apply."""
        query = select(ConfigurationStrategy).where(ConfigurationStrategy.game_id == game_id)
        ordered = query.order_by(ConfigurationStrategy.apply_order, ConfigurationStrategy.strategy_id)
        return (await self._db.scalars(ordered)).all()

    async def add_strategy(self, **columns: Any) -> ConfigurationStrategy:  # noqa: ANN401 - columns of the table
        """Insert a strategy; raise `AlreadyExists`, or `NotFound` for the game."""
        row = ConfigurationStrategy(**columns)
        self._db.add(row)
        await self._db.flush()
        return row

    async def delete_strategy(self, strategy_id: int) -> bool:
        """Delete the strategy with its patches and bindings; tell whether it was there."""
        query = delete(ConfigurationStrategy).where(ConfigurationStrategy.strategy_id == strategy_id)
        returning = query.returning(ConfigurationStrategy.strategy_id)
        return await self._db.scalar(returning, execution_options={"synchronize_session": False}) is not None

    async def patch(self, patch_id: int) -> ConfigurationPatch:
        """Return the patch; raise `NotFound`."""
        row = await self._db.get(ConfigurationPatch, patch_id)
        if row is None:
            raise NotFound("configuration patch", patch_id)
        return row

    async def patches(
        self, *, strategy_id: int | None = None, level: str | None = None, entity_id: int | None = None
    ) -> Sequence[ConfigurationPatch]:
        """Return patches by strategy, in the order in which they apply. A filter that is None matches all."""
        query = select(ConfigurationPatch)
        if strategy_id is not None:
            query = query.where(ConfigurationPatch.strategy_id == strategy_id)
        if level is not None:
            query = query.where(ConfigurationPatch.patch_level == level)
        if entity_id is not None:
            query = query.where(ConfigurationPatch.entity_id == entity_id)
        ordered = query.order_by(
            ConfigurationPatch.strategy_id, _LEVEL_ORDER, ConfigurationPatch.patch_order, ConfigurationPatch.patch_id
        )
        return (await self._db.scalars(ordered)).all()

    async def patches_for(self, *, game_id: int, entities: Mapping[str, int]) -> Sequence[PlacedPatch]:
        """Return the patches of all strategies of a game for these entities (level to id), in their order."""
        query = (
            select(ConfigurationPatch, GameConfigVolume.container_path)
            .join(ConfigurationStrategy, ConfigurationStrategy.strategy_id == ConfigurationPatch.strategy_id)
            .outerjoin(GameConfigVolume, GameConfigVolume.volume_id == ConfigurationPatch.volume_id)
            .where(ConfigurationStrategy.game_id == game_id)
            .where(tuple_(ConfigurationPatch.patch_level, ConfigurationPatch.entity_id).in_(list(entities.items())))
            .order_by(_LEVEL_ORDER, ConfigurationPatch.patch_order, ConfigurationPatch.patch_id)
        )
        return [PlacedPatch(row, container_path or "") for row, container_path in await self._db.execute(query)]

    async def add_patch(self, **columns: Any) -> ConfigurationPatch:  # noqa: ANN401 - columns of the table
        """Insert a patch; raise `NotFound` for the strategy or the volume."""
        row = ConfigurationPatch(**columns)
        self._db.add(row)
        await self._db.flush()
        return row

    async def delete_patch(self, patch_id: int) -> bool:
        """Delete the patch; tell whether it was there."""
        query = delete(ConfigurationPatch).where(ConfigurationPatch.patch_id == patch_id)
        returning = query.returning(ConfigurationPatch.patch_id)
        return await self._db.scalar(returning, execution_options={"synchronize_session": False}) is not None

    async def bindings(self, game_id: int) -> Sequence[BoundParameter]:
        """Return the bindings of all strategies of a game, by id."""
        query = (
            select(StrategyParameterBinding, ParameterDefinition.key)
            .join(ConfigurationStrategy, ConfigurationStrategy.strategy_id == StrategyParameterBinding.strategy_id)
            .join(ParameterDefinition, ParameterDefinition.param_id == StrategyParameterBinding.param_id)
            .where(ConfigurationStrategy.game_id == game_id)
            .order_by(StrategyParameterBinding.binding_id)
        )
        return [BoundParameter(row, key) for row, key in await self._db.execute(query)]
