"""Queries about games."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from manman.db.models import Game
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession


class Games:
    """Games within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def get(self, game_id: int) -> Game:
        """Return the game; raise `NotFound`."""
        row = await self._db.get(Game, game_id)
        if row is None:
            raise NotFound("game", game_id)
        return row

    async def lock(self, game_id: int) -> Game:
        """Return the game, locked until the end of the transaction; raise `NotFound`."""
        query = select(Game).where(Game.game_id == game_id).with_for_update(key_share=True)
        row = await self._db.scalar(query.execution_options(populate_existing=True))
        if row is None:
            raise NotFound("game", game_id)
        return row

    async def list(self, *, limit: int = 50, offset: int = 0) -> Sequence[Game]:
        """Return games by id."""
        return (await self._db.scalars(select(Game).order_by(Game.game_id).limit(limit).offset(offset))).all()

    async def add(self, *, name: str, **columns: Any) -> Game:  # noqa: ANN401 - columns of the table
        """Insert a game; raise `AlreadyExists`."""
        row = Game(name=name, **columns)
        self._db.add(row)
        await self._db.flush()
        return row

    async def delete(self, game_id: int) -> bool:
        """Delete the game and everything below it; tell whether it was there."""
        return await self._db.scalar(delete(Game).where(Game.game_id == game_id).returning(Game.game_id)) is not None
