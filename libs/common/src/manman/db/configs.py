"""Queries about game configs, with their files and declared parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from manman.db.models import GameConfig, GameConfigFile, GameConfigParameterValue, ParameterDefinition
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.domain.parameters import Declared


class Configs:
    """Game configs within one transaction. A loaded config comes with its files and parameters."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def get(self, config_id: int) -> GameConfig:
        """Return the config; raise `NotFound`."""
        row = await self._db.get(GameConfig, config_id)
        if row is None:
            raise NotFound("game config", config_id)
        return row

    async def lock(self, config_id: int) -> GameConfig:
        """Return the config, locked until the end of the transaction; raise `NotFound`."""
        query = select(GameConfig).where(GameConfig.config_id == config_id).with_for_update(key_share=True)
        row = await self._db.scalar(query.execution_options(populate_existing=True))
        if row is None:
            raise NotFound("game config", config_id)
        return row

    async def list(self, *, game_id: int | None = None, limit: int = 50, offset: int = 0) -> Sequence[GameConfig]:
        """Return configs by id."""
        query = select(GameConfig).order_by(GameConfig.config_id).limit(limit).offset(offset)
        if game_id:
            query = query.where(GameConfig.game_id == game_id)
        return (await self._db.scalars(query)).all()

    async def add(
        self,
        *,
        game_id: int,
        name: str,
        image: str,
        files: Sequence[GameConfigFile] = (),
        parameters: Sequence[Declared] = (),
        **columns: Any,  # noqa: ANN401 - columns of the table
    ) -> GameConfig:
        """Insert a config with its files and parameters; raise `AlreadyExists`, or `NotFound` for the game."""
        row = GameConfig(game_id=game_id, name=name, image=image, files=[], parameters=[], **columns)
        self._db.add(row)
        await self._db.flush()
        await self.set_files(row, files)
        await self.set_parameters(row, parameters)
        return row

    async def set_files(self, row: GameConfig, files: Sequence[GameConfigFile]) -> None:
        """Replace the files of the config, in this order."""
        row.files.clear()
        await self._db.flush()
        for position, file in enumerate(files):
            file.position = position
            row.files.append(file)
        await self._db.flush()

    async def set_parameters(self, row: GameConfig, declared: Sequence[Declared]) -> None:
        """Replace what the config declares, in this order. A key new to the game enters its catalogue as declared here.

        What differs from the catalogue is stored with the config; the catalogue's entry stays as it is.
        """
        catalogue = await self._catalogue(row.game_id, declared)
        row.parameters.clear()
        await self._db.flush()
        for position, parameter in enumerate(declared):
            definition = catalogue[parameter.key]
            row.parameters.append(
                GameConfigParameterValue(
                    param_id=definition.param_id,
                    definition=definition,
                    position=position,
                    value=parameter.value,
                    param_type_override=parameter.type or "string",
                    description_override=parameter.description,
                    required_override=parameter.required,
                    default_value_override=parameter.default_value,
                    min_value_override=parameter.min_value,
                    max_value_override=parameter.max_value,
                    allowed_values_override=list(parameter.allowed_values),
                )
            )
        await self._db.flush()

    async def _catalogue(self, game_id: int, declared: Sequence[Declared]) -> dict[str, ParameterDefinition]:
        keys = [parameter.key for parameter in declared]
        query = select(ParameterDefinition).where(
            ParameterDefinition.game_id == game_id, ParameterDefinition.key.in_(keys)
        )
        known = {row.key: row for row in await self._db.scalars(query)}
        for parameter in declared:
            if parameter.key not in known:
                known[parameter.key] = ParameterDefinition(
                    game_id=game_id,
                    key=parameter.key,
                    param_type=parameter.type or "string",
                    description=parameter.description or None,
                    required=parameter.required,
                    default_value=parameter.default_value or None,
                    min_value=parameter.min_value,
                    max_value=parameter.max_value,
                    allowed_values=list(parameter.allowed_values) or None,
                )
                self._db.add(known[parameter.key])
        await self._db.flush()
        return known

    async def delete(self, config_id: int) -> bool:
        """Delete the config and everything below it; tell whether it was there."""
        query = delete(GameConfig).where(GameConfig.config_id == config_id).returning(GameConfig.config_id)
        return await self._db.scalar(query, execution_options={"synchronize_session": False}) is not None
