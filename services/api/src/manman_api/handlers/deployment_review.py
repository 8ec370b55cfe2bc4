"""What speaks for and against a deployment that is not made yet: the questions that `deploy` asks, and advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manman.domain import deployments, parameters
from manman.domain.hosts import HostStatus
from manman.errors import Conflict, Invalid, NotFound
from manman_api.handlers import configuration
from manman_api.handlers.configs import declared
from manman_api.handlers.deployments import check_overrides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman.db.models import GameConfig, GameConfigVolume
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.deployments import Review
    from manman_api.handlers.deployments import DeploymentValues


async def validate_deployment(*, server_id: int, game_config_id: int, values: DeploymentValues, uow: Uow) -> Review:
    """Return what speaks for and against a deployment, without making it. A wrong deployment is an answer, no error."""
    async with uow() as tx:
        try:
            server = await tx.servers.get(server_id)
        except NotFound:
            return deployments.unknown("server_id", "server")
        try:
            config = await tx.configs.get(game_config_id)
        except NotFound:
            return deployments.unknown("game_config_id", "game config")
        newest = (await tx.servers.capabilities([server_id])).get(server_id)
        limits: dict[str, Any] = values["resources"] or {}
        return deployments.review(
            wanted=values["port_bindings"],
            taken=await tx.ports.taken(server_id),
            declared=declared(config),
            layers=[values["parameters"]],
            problems=check_overrides(values),
            unrenderable=await _unrenderable(tx, config, values),
            host_is_online=server.status == HostStatus.ONLINE,
            host_is_draining=server.draining or server.host_draining,
            capabilities=newest.offer if newest else None,
            needs=_needs(config, await tx.volumes.list(config_id=game_config_id)),
            features=server.features,
            memory_mb=limits.get("memory_mb") or config.memory_mb,
            cpu_millicores=limits.get("cpu_millicores") or config.cpu_millicores,
        )


async def _unrenderable(tx: Transaction, config: GameConfig, values: DeploymentValues) -> str:
    """Return why the configuration cannot be rendered; "" when it can, or when its parameters do not fit anyway."""
    try:
        resolved = parameters.resolve(declared(config), [values["parameters"]])
    except Invalid:
        return ""
    occasion = configuration.Occasion(deployment=values["parameters"], env_overrides=values["env_overrides"])
    try:
        await configuration.render(tx, config, occasion, resolved.values)
    except Conflict as refused:
        return refused.reason
    return ""


def _needs(config: GameConfig, volumes: Sequence[GameConfigVolume]) -> dict[str, str]:
    """Return the features that a host needs for this config, and the field that each is for."""
    wanted = {
        deployments.ENTRYPOINT: ("entrypoint", config.entrypoint),
        deployments.CONFIG_FILES: ("files", config.files),
        deployments.READ_ONLY_VOLUMES: ("volumes", [volume for volume in volumes if volume.read_only]),
    }
    return {feature: field for feature, (field, used) in wanted.items() if used}
