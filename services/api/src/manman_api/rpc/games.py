"""The RPCs about games."""

from __future__ import annotations

from manman.v1 import games_pb2 as pb
from manman_api import paging
from manman_api.handlers import games
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class GamesRpc(Servicer):
    """Games: read, add, change, remove."""

    async def ListGames(self, request: pb.ListGamesRequest, context: object) -> pb.ListGamesResponse:
        """Answer with a page of games."""
        page = paging.read(request.page_size, request.page_token)
        rows, token = await games.list_games(page=page, uow=self._parts.uow)
        return pb.ListGamesResponse(games=map(present.game, rows), next_page_token=token)

    async def GetGame(self, request: pb.GetGameRequest, context: object) -> pb.GetGameResponse:
        """Answer with one game."""
        row = await games.get_game(game_id=request.game_id, uow=self._parts.uow)
        return pb.GetGameResponse(game=present.game(row))

    async def CreateGame(self, request: pb.CreateGameRequest, context: object) -> pb.CreateGameResponse:
        """Add a game."""
        row = await games.create_game(
            name=request.name,
            steam_app_id=request.steam_app_id,
            metadata=unpack.metadata(request.metadata) if request.HasField("metadata") else None,
            uow=self._parts.uow,
        )
        return pb.CreateGameResponse(game=present.game(row))

    async def UpdateGame(self, request: pb.UpdateGameRequest, context: object) -> pb.UpdateGameResponse:
        """Change a game."""
        metadata = unpack.metadata(request.metadata) if request.HasField("metadata") else None
        row = await games.update_game(
            game_id=request.game_id,
            values={"name": request.name, "steam_app_id": request.steam_app_id, "metadata": metadata},
            update_paths=request.update_paths,
            uow=self._parts.uow,
        )
        return pb.UpdateGameResponse(game=present.game(row))

    async def DeleteGame(self, request: pb.DeleteGameRequest, context: object) -> pb.DeleteGameResponse:
        """Remove a game."""
        await games.delete_game(game_id=request.game_id, uow=self._parts.uow)
        return pb.DeleteGameResponse()
