"""Games and their configs, to read: what can be deployed and how it is run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman.errors import NotFound
from manman_ui.web import Page

if TYPE_CHECKING:
    from manman_ui.reading import Reading
    from manman_ui.web import Web


async def list_context(reading: Reading) -> dict[str, object]:
    """Return all games with the number of their configs and deployments."""
    deployments = await reading.deployments()
    return {
        "games": await reading.games(),
        "configs_by_game": Counter(config.game_id for config in await reading.configs()),
        "deployments_by_game": Counter(each.game.game_id for each in deployments if each.game),
    }


def game_page(game_id: int) -> Page:
    """Return the page of one game."""

    async def context(reading: Reading) -> dict[str, object]:
        return {
            "game": await reading.game(game_id),
            "configs": [config for config in await reading.configs() if config.game_id == game_id],
            "deployments_by_config": Counter(each.row.game_config_id for each in await reading.deployments()),
        }

    return Page("game.html", context)


def config_page(game_id: int, config_id: int) -> Page:
    """Return the page of one config."""

    async def context(reading: Reading) -> dict[str, object]:
        config = await reading.config(config_id)
        if config.game_id != game_id:
            raise NotFound("config", f"{config_id} of game {game_id}")
        return {
            "game": await reading.game(game_id),
            "config": config,
            "volumes": await reading.api.volumes(config_id),
            "deployments": [each for each in await reading.deployments() if each.row.game_config_id == config_id],
        }

    return Page("config.html", context)


def routes(web: Web) -> APIRouter:
    """Return /games, /games/{id} and /games/{id}/configs/{id}."""
    router = APIRouter()
    list_page = Page("games.html", list_context)

    @router.get("/games")
    async def games(request: Request) -> Response:
        return await web.show(request, list_page)

    @router.get("/games/{game_id}")
    async def game(request: Request, game_id: int) -> Response:
        return await web.show(request, game_page(game_id))

    @router.get("/games/{game_id}/configs/{config_id}")
    async def config(request: Request, game_id: int, config_id: int) -> Response:
        return await web.show(request, config_page(game_id, config_id))

    return router
