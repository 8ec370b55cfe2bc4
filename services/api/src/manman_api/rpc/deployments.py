"""The RPCs about deployments."""

from __future__ import annotations

from manman.v1 import server_game_configs_pb2 as pb
from manman_api import paging
from manman_api.handlers import deployments
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class DeploymentsRpc(Servicer):
    """Deployments: read, deploy, change, undeploy, validate."""

    async def ListServerGameConfigs(
        self, request: pb.ListServerGameConfigsRequest, context: object
    ) -> pb.ListServerGameConfigsResponse:
        """Answer with a page of deployments."""
        page = paging.read(request.page_size, request.page_token)
        rows, token = await deployments.list_deployments(server_id=request.server_id, page=page, uow=self._parts.uow)
        return pb.ListServerGameConfigsResponse(configs=map(present.deployment, rows), next_page_token=token)

    async def GetServerGameConfig(
        self, request: pb.GetServerGameConfigRequest, context: object
    ) -> pb.GetServerGameConfigResponse:
        """Answer with one deployment."""
        row = await deployments.get_deployment(deployment_id=request.server_game_config_id, uow=self._parts.uow)
        return pb.GetServerGameConfigResponse(config=present.deployment(row))

    async def DeployGameConfig(
        self, request: pb.DeployGameConfigRequest, context: object
    ) -> pb.DeployGameConfigResponse:
        """Place a config on a host."""
        row = await deployments.deploy(
            server_id=request.server_id,
            game_config_id=request.game_config_id,
            wanted=unpack.wanted_ports(request.port_bindings),
            values=dict(request.parameters),
            default_ranges=self._parts.default_ranges,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.DeployGameConfigResponse(config=present.deployment(row))

    async def UpdateServerGameConfig(
        self, request: pb.UpdateServerGameConfigRequest, context: object
    ) -> pb.UpdateServerGameConfigResponse:
        """Change a deployment."""
        row = await deployments.update_deployment(
            deployment_id=request.server_game_config_id,
            values={
                "port_bindings": unpack.wanted_ports(request.port_bindings),
                "parameters": dict(request.parameters),
                "status": request.status,
            },
            update_paths=request.update_paths,
            default_ranges=self._parts.default_ranges,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.UpdateServerGameConfigResponse(config=present.deployment(row))

    async def DeleteServerGameConfig(
        self, request: pb.DeleteServerGameConfigRequest, context: object
    ) -> pb.DeleteServerGameConfigResponse:
        """Remove a deployment."""
        await deployments.undeploy(deployment_id=request.server_game_config_id, uow=self._parts.uow)
        return pb.DeleteServerGameConfigResponse()

    async def ValidateDeployment(
        self, request: pb.ValidateDeploymentRequest, context: object
    ) -> pb.ValidateDeploymentResponse:
        """Answer with what speaks for and against a deployment."""
        found = await deployments.validate_deployment(
            server_id=request.server_id,
            game_config_id=request.game_config_id,
            wanted=unpack.wanted_ports(request.port_bindings),
            values=dict(request.parameters),
            uow=self._parts.uow,
        )
        return present.review(found)
