"""The RPCs about deployments."""

from __future__ import annotations

from manman.rpc.chain import current_attempt
from manman.v1 import server_game_configs_pb2 as pb
from manman_api import paging
from manman_api.handlers import deployment_review, deployments, environment
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class DeploymentsRpc(Servicer):
    """Deployments: read, deploy, change, undeploy, validate, and their environment."""

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
            values=unpack.deployment(request),
            default_ranges=self._parts.default_ranges,
            now=self._parts.now(),
            uow=self._parts.uow,
            attempt=current_attempt(),
        )
        return pb.DeployGameConfigResponse(config=present.deployment(row))

    async def UpdateServerGameConfig(
        self, request: pb.UpdateServerGameConfigRequest, context: object
    ) -> pb.UpdateServerGameConfigResponse:
        """Change a deployment."""
        row = await deployments.update_deployment(
            deployment_id=request.server_game_config_id,
            values=unpack.deployment(request),
            update_paths=request.update_paths,
            default_ranges=self._parts.default_ranges,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.UpdateServerGameConfigResponse(config=present.deployment(row))

    async def BatchUpdateServerGameConfigs(
        self, request: pb.BatchUpdateServerGameConfigsRequest, context: object
    ) -> pb.BatchUpdateServerGameConfigsResponse:
        """Change several deployments."""
        found = await deployments.update_deployments(
            updates=[unpack.deployment_update(update) for update in request.requests],
            default_ranges=self._parts.default_ranges,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.BatchUpdateServerGameConfigsResponse(configs=map(present.deployment, found))

    async def GetEffectiveEnv(self, request: pb.GetEffectiveEnvRequest, context: object) -> pb.GetEffectiveEnvResponse:
        """Answer with the environment of a deployment."""
        found = await environment.effective_env(deployment_id=request.server_game_config_id, uow=self._parts.uow)
        return pb.GetEffectiveEnvResponse(variables=map(present.variable, found))

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
        found = await deployment_review.validate_deployment(
            server_id=request.server_id,
            game_config_id=request.game_config_id,
            values=unpack.deployment(request),
            uow=self._parts.uow,
        )
        return present.review(found)
