"""Games: names with free information about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manman.errors import Conflict
from manman_api import masks
from manman_api.handlers.removals import end_what_is_out_of_sight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.db.models import Game
    from manman.db.unit_of_work import Uow
    from manman_api.paging import Page


async def list_games(*, page: Page, uow: Uow) -> tuple[list[Game], str]:
    """Return a page of games by id, and the token of the next."""
    async with uow() as tx:
        return page.cut(await tx.games.list(limit=page.limit, offset=page.offset))


async def get_game(*, game_id: int, uow: Uow) -> Game:
    """Return a game; raise `NotFound`."""
    async with uow() as tx:
        return await tx.games.get(game_id)


async def create_game(*, name: str, steam_app_id: str, metadata: Mapping[str, Any] | None, uow: Uow) -> Game:
    """Add a game; raise `AlreadyExists`."""
    async with uow() as tx:
        row = await tx.games.add(name=name, steam_app_id=steam_app_id or None, metadata_=dict(metadata or {}))
        await tx.commit()
        return row


async def update_game(*, game_id: int, values: Mapping[str, object], update_paths: Sequence[str], uow: Uow) -> Game:
    """Change `name`, `steam_app_id` or, as a whole, `metadata`."""
    wanted = masks.changes(update_paths, values, mandatory=("name",))
    async with uow() as tx:
        row = await tx.games.lock(game_id)
        row.name = wanted.get("name", row.name)
        if "steam_app_id" in wanted:
            row.steam_app_id = wanted["steam_app_id"] or None
        if "metadata" in wanted:
            row.metadata_ = dict(wanted["metadata"] or {})
        await tx.commit()
        return row


async def delete_game(*, game_id: int, uow: Uow) -> None:
    """Remove a game with everything below it; an unknown id is fine. `Conflict` while a session is live."""
    async with uow() as tx:
        await tx.deployments.lock_below(game_id=game_id)
        live = await tx.sessions.count_live(game_id=game_id)
        if live:
            raise Conflict(f"game {game_id} has {live} live sessions; stop them first")
        await end_what_is_out_of_sight(tx, game_id=game_id)
        await tx.games.delete(game_id)
        await tx.commit()
