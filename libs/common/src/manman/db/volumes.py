"""Queries about the volumes of game configs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from manman.db.models import GameConfigVolume
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession


class Volumes:
    """Volumes within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def get(self, volume_id: int) -> GameConfigVolume:
        """Return the volume; raise `NotFound`."""
        row = await self._db.get(GameConfigVolume, volume_id)
        if row is None:
            raise NotFound("volume", volume_id)
        return row

    async def list(self, *, config_id: int) -> Sequence[GameConfigVolume]:
        """Return the volumes of a config, by id."""
        query = select(GameConfigVolume).where(GameConfigVolume.config_id == config_id)
        return (await self._db.scalars(query.order_by(GameConfigVolume.volume_id))).all()

    async def add(self, *, config_id: int, name: str, container_path: str, **columns: Any) -> GameConfigVolume:  # noqa: ANN401 - columns of the table
        """Insert a volume; raise `AlreadyExists`, or `NotFound` for the config."""
        row = GameConfigVolume(config_id=config_id, name=name, container_path=container_path, **columns)
        self._db.add(row)
        await self._db.flush()
        return row

    async def delete(self, volume_id: int) -> bool:
        """Delete the volume's row; tell whether it was there. The files on hosts stay."""
        query = (
            delete(GameConfigVolume)
            .where(GameConfigVolume.volume_id == volume_id)
            .returning(GameConfigVolume.volume_id)
        )
        return await self._db.scalar(query) is not None
