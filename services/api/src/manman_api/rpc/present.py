"""Rows to messages. NULL is the empty value of its type, times are Unix seconds, 0 is never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.deployments import Severity
from manman.domain.ports import connect_addresses
from manman.v1 import (
    game_configs_pb2,
    games_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    stats_pb2,
    values_pb2,
    volumes_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from manman.db.models import (
        DeploymentRestart,
        Game,
        GameConfig,
        GameConfigVolume,
        ServerCapability,
        ServerGameConfig,
    )
    from manman.db.runs import Run
    from manman.db.samples import Point
    from manman.domain.deployments import Review
    from manman.domain.environment import Variable
    from manman.domain.ports import ConnectAddress
    from manman.domain.samples import Window
    from manman_api.handlers.deployments import Deployed
    from manman_api.handlers.servers import Host
    from manman_api.handlers.sessions import Crash

_SEVERITIES = {
    Severity.ERROR: server_game_configs_pb2.VALIDATION_SEVERITY_ERROR,
    Severity.WARNING: server_game_configs_pb2.VALIDATION_SEVERITY_WARNING,
}


def seconds(moment: datetime | None) -> int:
    """Return Unix seconds, 0 for never."""
    return int(moment.timestamp()) if moment else 0


def server(host: Host) -> servers_pb2.Server:
    """Present a host with what it offered last."""
    row = host.row
    message = servers_pb2.Server()
    message.server_id = row.server_id
    message.name = row.name
    message.status = row.status
    message.last_seen = seconds(row.last_seen)
    message.environment = row.environment or ""
    message.is_default = row.is_default
    message.features.extend(row.features)
    message.public_address = row.address
    message.draining = row.draining
    message.host_draining = row.host_draining
    message.announced_address = row.announced_address or ""
    for span in row.port_ranges:
        message.port_ranges.add(**span)
    if host.capability:
        _fill(message.capabilities, host.capability)
    return message


def capabilities(row: ServerCapability) -> servers_pb2.ServerCapabilities:
    """Present what a host offered."""
    message = servers_pb2.ServerCapabilities()
    _fill(message, row)
    return message


def _fill(message: servers_pb2.ServerCapabilities, row: ServerCapability) -> None:
    message.total_memory_mb = row.total_memory_mb
    message.available_memory_mb = row.available_memory_mb
    message.cpu_cores = row.cpu_cores
    message.available_cpu_millicores = row.available_cpu_millicores
    for span in row.available_ports:
        message.available_ports.add(**span)
    message.docker_version = row.docker_version or ""
    message.recorded_at = seconds(row.recorded_at)


def game(row: Game) -> games_pb2.Game:
    """Present a game. `metadata` may hold keys that the message has no field for: those are left out."""
    known = {
        name: row.metadata_[name] for name in games_pb2.GameMetadata.DESCRIPTOR.fields_by_name if name in row.metadata_
    }
    return games_pb2.Game(
        game_id=row.game_id,
        name=row.name,
        steam_app_id=row.steam_app_id or "",
        metadata=games_pb2.GameMetadata(**known) if row.metadata_ else None,
    )


def config(row: GameConfig) -> game_configs_pb2.GameConfig:
    """Present a config with its files and parameters in their order."""
    return game_configs_pb2.GameConfig(
        config_id=row.config_id,
        game_id=row.game_id,
        name=row.name,
        image=row.image,
        args_template=row.args_template or "",
        env_template=row.env_template,
        files=[
            values_pb2.FileTemplate(path=file.path, content=file.content, mode=file.mode, is_template=file.is_template)
            for file in row.files
        ],
        parameters=[
            values_pb2.Parameter(
                key=parameter.key,
                value=parameter.value,
                type=parameter.type,
                description=parameter.description,
                required=parameter.required,
                default_value=parameter.default_value,
                min_value=parameter.min_value,
                max_value=parameter.max_value,
                allowed_values=parameter.allowed_values,
            )
            for parameter in (value.declared for value in row.parameters)
        ],
        entrypoint=row.entrypoint,
        command=row.command,
        resources=_limits(row),
        stop_command=row.stop_command,
        stop_timeout_seconds=row.stop_timeout_seconds,
        stop_signal=row.stop_signal,
        ready_pattern=row.ready_pattern,
        ready_query=game_configs_pb2.ReadyQuery(kind=row.ready_query_kind, port=row.ready_query_port)
        if row.ready_query_kind
        else None,
        liveness_limit_seconds=row.liveness_limit_seconds,
        restart_policy=_restart_policy(row),
        isolation=values_pb2.Isolation(
            read_only_root=row.read_only_root,
            no_capabilities=row.no_capabilities,
            extra_capabilities=row.extra_capabilities,
            init=row.with_init,
        ),
    )


def _limits(row: GameConfig | ServerGameConfig) -> values_pb2.ResourceLimits:
    return values_pb2.ResourceLimits(memory_mb=row.memory_mb, cpu_millicores=row.cpu_millicores, pids=row.pids_limit)


def _restart_policy(row: GameConfig | ServerGameConfig) -> values_pb2.RestartPolicy:
    return values_pb2.RestartPolicy(
        policy=row.restart_policy,
        max_attempts=row.restart_max_attempts,
        window_seconds=row.restart_window_seconds,
        backoff_seconds=row.restart_backoff_seconds,
    )


def _addresses(found: Iterable[ConnectAddress]) -> list[values_pb2.ConnectAddress]:
    return [
        values_pb2.ConnectAddress(
            address=each.address, protocol=each.protocol, name=each.name, container_port=each.container_port
        )
        for each in found
    ]


def volume(row: GameConfigVolume) -> volumes_pb2.GameConfigVolume:
    """Present a volume."""
    return volumes_pb2.GameConfigVolume(
        volume_id=row.volume_id,
        config_id=row.config_id,
        name=row.name,
        description=row.description or "",
        container_path=row.container_path,
        host_subpath=row.host_subpath or "",
        read_only=row.read_only,
        volume_type=row.volume_type,
    )


def deployment(found: Deployed) -> server_game_configs_pb2.ServerGameConfig:
    """Present a deployment with the ports it holds, in the order asked, and where they can be reached."""
    row, server, restart = found
    return server_game_configs_pb2.ServerGameConfig(
        server_game_config_id=row.sgc_id,
        server_id=row.server_id,
        game_config_id=row.game_config_id,
        port_bindings=[values_pb2.PortBinding(**binding) for binding in row.port_bindings],
        parameters=row.parameters,
        status=row.status,
        env_overrides=row.env_overrides,
        resources=_limits(row),
        stop_command=row.stop_command,
        stop_timeout_seconds=row.stop_timeout_seconds,
        stop_signal=row.stop_signal,
        restart_policy=_restart_policy(row),
        connect_addresses=_addresses(connect_addresses(server.address or server.name, row.ports)),
        restart_state=_restart_state(restart) if restart else None,
    )


def _restart_state(row: DeploymentRestart) -> server_game_configs_pb2.RestartState:
    return server_game_configs_pb2.RestartState(
        state=row.state,
        session_id=row.session_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        window_seconds=row.window_seconds,
        due_at=seconds(row.due_at),
        reason=row.reason,
    )


def variable(found: Variable) -> server_game_configs_pb2.EffectiveVariable:
    """Present a variable of an environment."""
    return server_game_configs_pb2.EffectiveVariable(
        name=found.name, value=found.value, masked=found.masked, source=found.source
    )


def review(found: Review) -> server_game_configs_pb2.ValidateDeploymentResponse:
    """Present what speaks for and against a deployment."""
    estimate = found.estimate
    return server_game_configs_pb2.ValidateDeploymentResponse(
        valid=found.valid,
        issues=[
            server_game_configs_pb2.ValidationIssue(
                severity=_SEVERITIES[issue.severity],
                field=issue.field,
                message=issue.message,
                suggestion=issue.suggestion,
            )
            for issue in found.issues
        ],
        estimate=server_game_configs_pb2.DeploymentEstimate(
            estimated_memory_mb=estimate.memory_mb,
            estimated_cpu_millicores=estimate.cpu_millicores,
            allocated_ports=estimate.host_ports,
        )
        if estimate
        else None,
    )


def session(run: Run, into: sessions_pb2.Session | None = None) -> sessions_pb2.Session:
    """Present a session, in the message `into` where one is waiting for it: an item of a list.

    Lists of sessions are long and asked for all the time, and setting fields takes half the time of the constructor.
    """
    message = sessions_pb2.Session() if into is None else into
    message.session_id = run.session_id
    message.server_game_config_id = run.sgc_id
    message.server_id = run.server_id
    message.status = run.status
    message.created_at = run.created_at
    message.started_at = run.started_at
    message.ended_at = run.ended_at
    message.last_event_at = run.last_event_at
    message.stop_requested_at = run.stop_requested_at
    message.exit_code = run.exit_code
    message.exit_signal = run.exit_signal
    message.oom_killed = run.oom_killed
    message.restored_from_backup_id = run.restored_from_backup_id
    message.status_reason = run.status_reason
    message.status_message = run.status_message
    message.phase = run.phase
    message.progress_percent = run.progress_percent
    message.restart_of_session_id = run.restart_of_session_id
    message.restart_attempt = run.restart_attempt
    parameters = message.parameters
    for name, value in run.parameters.items():
        parameters[name] = value
    if run.port_bindings:
        message.connect_addresses.extend(_addresses(run.addresses))
    return message


def crash(found: Crash) -> sessions_pb2.CrashRecord:
    """Present a crash with the game's last lines."""
    row = found.row
    return sessions_pb2.CrashRecord(
        session_id=row.session_id,
        ended_at=seconds(row.ended_at),
        exit_code=row.exit_code or 0,
        signal=row.exit_signal or 0,
        oom_killed=row.oom_killed,
        reason=row.status_reason or "",
        message=row.status_message or "",
        lines=[sessions_pb2.CrashLine(**line) for line in found.lines],
    )


def sessions(runs: Iterable[Run], token: str) -> sessions_pb2.ListSessionsResponse:
    """Present a page of sessions."""
    answer = sessions_pb2.ListSessionsResponse(next_page_token=token)
    add = answer.sessions.add
    for run in runs:
        session(run, add())
    return answer


def session_stats(points: Iterable[Point], window: Window) -> stats_pb2.GetSessionStatsResponse:
    """Present what a game used; what is not known stays unset."""
    return stats_pb2.GetSessionStatsResponse(
        points=[stats_pb2.SessionStatsPoint(at=seconds(point.at), **point.values) for point in points],
        resolution_seconds=window.step_s,
    )


def server_stats(points: Iterable[Point], window: Window) -> stats_pb2.GetServerStatsResponse:
    """Present what a host used; what is not known stays unset."""
    return stats_pb2.GetServerStatsResponse(
        points=[stats_pb2.ServerStatsPoint(at=seconds(point.at), **point.values) for point in points],
        resolution_seconds=window.step_s,
    )
