"""Messages to the plain values that handlers take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from manman.domain import samples
from manman.domain.configs import RestartPolicy, Volume
from manman.domain.hosts import Capabilities
from manman.domain.parameters import Declared
from manman.domain.ports import PortRange, WantedPort
from manman.domain.readiness import ReadyQuery
from manman.domain.rendering import FileTemplate
from manman.v1 import server_game_configs_pb2
from manman_api.handlers.configs import ConfigValues
from manman_api.handlers.deployments import DeploymentUpdate, DeploymentValues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manman.domain.samples import Window
    from manman.v1 import game_configs_pb2, games_pb2, servers_pb2, stats_pb2, values_pb2, volumes_pb2


def moment(seconds: int) -> datetime | None:
    """Return the time of Unix seconds, None for 0."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def window(request: stats_pb2.GetSessionStatsRequest | stats_pb2.GetServerStatsRequest, now: datetime) -> Window:
    """Return what of a series is asked for; raise `Invalid`."""
    return samples.window(moment(request.since), moment(request.until), request.resolution_seconds, now=now)


def wanted_ports(bindings: Iterable[values_pb2.PortBinding]) -> list[WantedPort]:
    """Return the ports asked for, in their order."""
    return [
        WantedPort(container_port=port.container_port, host_port=port.host_port, protocol=port.protocol, name=port.name)
        for port in bindings
    ]


def port_ranges(ranges: Iterable[servers_pb2.PortRange]) -> list[PortRange]:
    """Return ranges of ports, in their order."""
    return [PortRange(start=span.start, end=span.end, protocol=span.protocol.upper()) for span in ranges]


def capabilities(message: servers_pb2.ServerCapabilities) -> Capabilities:
    """Return what a host says it offers."""
    return Capabilities(
        total_memory_mb=message.total_memory_mb,
        available_memory_mb=message.available_memory_mb,
        cpu_cores=message.cpu_cores,
        available_cpu_millicores=message.available_cpu_millicores,
        docker_version=message.docker_version,
        available_ports=tuple(port_ranges(message.available_ports)),
    )


def metadata(message: games_pb2.GameMetadata) -> dict[str, Any]:
    """Return the information about a game as it is stored: every key, also empty ones."""
    return {
        "genre": message.genre,
        "publisher": message.publisher,
        "default_players": message.default_players,
        "max_players": message.max_players,
        "links": dict(message.links),
        "tags": list(message.tags),
    }


def deployment(
    message: server_game_configs_pb2.DeployGameConfigRequest
    | server_game_configs_pb2.UpdateServerGameConfigRequest
    | server_game_configs_pb2.ValidateDeploymentRequest,
) -> DeploymentValues:
    """Return everything that a request says about a deployment."""
    return DeploymentValues(
        port_bindings=wanted_ports(message.port_bindings),
        parameters=dict(message.parameters),
        status=message.status if isinstance(message, server_game_configs_pb2.UpdateServerGameConfigRequest) else "",
        env_overrides=dict(message.env_overrides),
        resources=_limits(message.resources) if message.HasField("resources") else None,
        stop_command=message.stop_command,
        stop_timeout_seconds=message.stop_timeout_seconds,
        stop_signal=message.stop_signal,
        restart_policy=_restart_policy(message.restart_policy) if message.HasField("restart_policy") else None,
    )


def deployment_update(message: server_game_configs_pb2.UpdateServerGameConfigRequest) -> DeploymentUpdate:
    """Return one update of several."""
    return DeploymentUpdate(message.server_game_config_id, deployment(message), message.update_paths)


def volume(message: volumes_pb2.CreateGameConfigVolumeRequest | volumes_pb2.UpdateGameConfigVolumeRequest) -> Volume:
    """Return the volume that a request describes."""
    return Volume(
        name=message.name,
        container_path=message.container_path,
        host_subpath=message.host_subpath,
        read_only=message.read_only,
        volume_type=message.volume_type,
        description=message.description,
    )


def config(
    message: game_configs_pb2.CreateGameConfigRequest | game_configs_pb2.UpdateGameConfigRequest,
) -> ConfigValues:
    """Return everything that a request says about a config."""
    return ConfigValues(
        name=message.name,
        image=message.image,
        args_template=message.args_template,
        env_template=dict(message.env_template),
        files=[
            FileTemplate(path=file.path, content=file.content, mode=file.mode, is_template=file.is_template)
            for file in message.files
        ],
        parameters=[_declared(parameter) for parameter in message.parameters],
        entrypoint=list(message.entrypoint),
        command=list(message.command),
        resources=_limits(message.resources) if message.HasField("resources") else None,
        stop_command=message.stop_command,
        stop_timeout_seconds=message.stop_timeout_seconds,
        stop_signal=message.stop_signal,
        ready_pattern=message.ready_pattern,
        ready_query=ReadyQuery(message.ready_query.kind, message.ready_query.port)
        if message.HasField("ready_query")
        else None,
        liveness_limit_seconds=message.liveness_limit_seconds,
        restart_policy=_restart_policy(message.restart_policy) if message.HasField("restart_policy") else None,
        isolation=_isolation(message.isolation) if message.HasField("isolation") else None,
    )


def _declared(message: values_pb2.Parameter) -> Declared:
    return Declared(
        key=message.key,
        type=message.type,
        value=message.value,
        default_value=message.default_value,
        description=message.description,
        required=message.required,
        min_value=message.min_value if message.HasField("min_value") else None,
        max_value=message.max_value if message.HasField("max_value") else None,
        allowed_values=tuple(message.allowed_values),
    )


def _restart_policy(message: values_pb2.RestartPolicy) -> RestartPolicy:
    return RestartPolicy(
        policy=message.policy,
        max_attempts=message.max_attempts,
        window_s=message.window_seconds,
        backoff_s=message.backoff_seconds,
    )


def _limits(message: values_pb2.ResourceLimits) -> dict[str, int]:
    return {"memory_mb": message.memory_mb, "cpu_millicores": message.cpu_millicores, "pids_limit": message.pids}


def _isolation(message: values_pb2.Isolation) -> dict[str, Any]:
    return {
        "read_only_root": message.read_only_root,
        "no_capabilities": message.no_capabilities,
        "extra_capabilities": list(message.extra_capabilities),
        "with_init": message.init,
    }
