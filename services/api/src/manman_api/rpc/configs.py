"""The RPCs about game configs."""

from __future__ import annotations

from manman.v1 import game_configs_pb2 as pb
from manman_api import paging
from manman_api.handlers import configs
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class ConfigsRpc(Servicer):
    """Game configs: read, add, change, remove."""

    async def ListGameConfigs(self, request: pb.ListGameConfigsRequest, context: object) -> pb.ListGameConfigsResponse:
        """Answer with a page of configs."""
        page = paging.read(request.page_size, request.page_token)
        rows, token = await configs.list_configs(game_id=request.game_id, page=page, uow=self._parts.uow)
        return pb.ListGameConfigsResponse(configs=map(present.config, rows), next_page_token=token)

    async def GetGameConfig(self, request: pb.GetGameConfigRequest, context: object) -> pb.GetGameConfigResponse:
        """Answer with one config."""
        row = await configs.get_config(config_id=request.config_id, uow=self._parts.uow)
        return pb.GetGameConfigResponse(config=present.config(row))

    async def CreateGameConfig(
        self, request: pb.CreateGameConfigRequest, context: object
    ) -> pb.CreateGameConfigResponse:
        """Add a config."""
        row = await configs.create_config(game_id=request.game_id, values=unpack.config(request), uow=self._parts.uow)
        return pb.CreateGameConfigResponse(config=present.config(row))

    async def UpdateGameConfig(
        self, request: pb.UpdateGameConfigRequest, context: object
    ) -> pb.UpdateGameConfigResponse:
        """Change a config."""
        row = await configs.update_config(
            config_id=request.config_id,
            values=unpack.config(request),
            update_paths=request.update_paths,
            uow=self._parts.uow,
        )
        return pb.UpdateGameConfigResponse(config=present.config(row))

    async def DeleteGameConfig(
        self, request: pb.DeleteGameConfigRequest, context: object
    ) -> pb.DeleteGameConfigResponse:
        """Remove a config."""
        await configs.delete_config(config_id=request.config_id, uow=self._parts.uow)
        return pb.DeleteGameConfigResponse()
