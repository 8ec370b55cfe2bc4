"""The RPCs about configuration strategies, patches and what they give."""

from __future__ import annotations

from manman.v1 import configuration_pb2 as pb
from manman_api.handlers import configuration, patches, strategies
from manman_api.handlers.patches import PatchValues
from manman_api.handlers.strategies import StrategyValues
from manman_api.rpc import present_configuration as present
from manman_api.rpc.parts import Servicer


class ConfigurationRpc(Servicer):
    """Strategies and patches: read, add, change, remove; preview and final result."""

    async def CreateConfigurationStrategy(
        self, request: pb.CreateConfigurationStrategyRequest, context: object
    ) -> pb.CreateConfigurationStrategyResponse:
        """Add a strategy."""
        row = await strategies.create_strategy(game_id=request.game_id, values=_strategy(request), uow=self._parts.uow)
        return pb.CreateConfigurationStrategyResponse(strategy=present.strategy(row))

    async def ListConfigurationStrategies(
        self, request: pb.ListConfigurationStrategiesRequest, context: object
    ) -> pb.ListConfigurationStrategiesResponse:
        """Answer with the strategies of a game."""
        rows = await strategies.list_strategies(game_id=request.game_id, uow=self._parts.uow)
        return pb.ListConfigurationStrategiesResponse(strategies=map(present.strategy, rows))

    async def UpdateConfigurationStrategy(
        self, request: pb.UpdateConfigurationStrategyRequest, context: object
    ) -> pb.UpdateConfigurationStrategyResponse:
        """Change a strategy."""
        row = await strategies.update_strategy(
            strategy_id=request.strategy_id,
            values=_strategy(request),
            update_paths=request.update_paths,
            uow=self._parts.uow,
        )
        return pb.UpdateConfigurationStrategyResponse(strategy=present.strategy(row))

    async def DeleteConfigurationStrategy(
        self, request: pb.DeleteConfigurationStrategyRequest, context: object
    ) -> pb.DeleteConfigurationStrategyResponse:
        """Remove a strategy."""
        await strategies.delete_strategy(strategy_id=request.strategy_id, uow=self._parts.uow)
        return pb.DeleteConfigurationStrategyResponse()

    async def CreateConfigurationPatch(
        self, request: pb.CreateConfigurationPatchRequest, context: object
    ) -> pb.CreateConfigurationPatchResponse:
        """Add a patch."""
        row = await patches.create_patch(
            strategy_id=request.strategy_id,
            level=request.patch_level,
            entity_id=request.entity_id,
            values=_patch(request),
            uow=self._parts.uow,
        )
        return pb.CreateConfigurationPatchResponse(patch=present.patch(row))

    async def ListConfigurationPatches(
        self, request: pb.ListConfigurationPatchesRequest, context: object
    ) -> pb.ListConfigurationPatchesResponse:
        """Answer with the patches that match."""
        rows = await patches.list_patches(
            strategy_id=request.strategy_id if request.HasField("strategy_id") else None,
            level=request.patch_level if request.HasField("patch_level") else None,
            entity_id=request.entity_id if request.HasField("entity_id") else None,
            uow=self._parts.uow,
        )
        return pb.ListConfigurationPatchesResponse(patches=map(present.patch, rows))

    async def UpdateConfigurationPatch(
        self, request: pb.UpdateConfigurationPatchRequest, context: object
    ) -> pb.UpdateConfigurationPatchResponse:
        """Replace a patch."""
        row = await patches.update_patch(patch_id=request.patch_id, values=_patch(request), uow=self._parts.uow)
        return pb.UpdateConfigurationPatchResponse(patch=present.patch(row))

    async def DeleteConfigurationPatch(
        self, request: pb.DeleteConfigurationPatchRequest, context: object
    ) -> pb.DeleteConfigurationPatchResponse:
        """Remove a patch."""
        await patches.delete_patch(patch_id=request.patch_id, uow=self._parts.uow)
        return pb.DeleteConfigurationPatchResponse()

    async def PreviewConfiguration(
        self, request: pb.PreviewConfigurationRequest, context: object
    ) -> pb.PreviewConfigurationResponse:
        """Answer with what other parameters would give."""
        found = await configuration.of_session(
            session_id=request.session_id, tried=dict(request.parameter_overrides), uow=self._parts.uow
        )
        return pb.PreviewConfigurationResponse(configurations=map(present.configuration, found.configurations))

    async def GetSessionConfiguration(
        self, request: pb.GetSessionConfigurationRequest, context: object
    ) -> pb.GetSessionConfigurationResponse:
        """Answer with a session's configuration."""
        found = await configuration.of_session(session_id=request.session_id, tried=None, uow=self._parts.uow)
        return pb.GetSessionConfigurationResponse(
            configurations=map(present.configuration, found.configurations),
            game_id=found.game_id,
            game_config_id=found.config_id,
            server_game_config_id=found.deployment_id,
        )


def _strategy(
    message: pb.CreateConfigurationStrategyRequest | pb.UpdateConfigurationStrategyRequest,
) -> StrategyValues:
    return StrategyValues(
        name=message.name,
        description=message.description,
        strategy_type=message.strategy_type,
        target_path=message.target_path,
        base_template=message.base_template,
        render_options=dict(message.render_options),
        apply_order=message.apply_order,
    )


def _patch(message: pb.CreateConfigurationPatchRequest | pb.UpdateConfigurationPatchRequest) -> PatchValues:
    return PatchValues(
        content=message.patch_content,
        format=message.patch_format,
        order=message.patch_order,
        volume_id=message.volume_id,
        path_override=message.path_override,
    )
