"""The start command: everything a host needs to run a session, rendered and final."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.readiness import ReadyQuery, query_port
from manman.domain.rendering import FileTemplate, Rendered, render_config, render_text
from manman.messages import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from manman.db.models import GameConfig, GameConfigVolume, ServerGameConfig, Session


def render(config: GameConfig, values: Mapping[str, str], env_overrides: Mapping[str, str]) -> Rendered:
    """Return the config with every placeholder replaced; `env_overrides` of the deployment lie over its environment."""
    return render_config(
        args=config.args_template or "",
        command=config.command,
        entrypoint=config.entrypoint,
        env={**config.env_template, **env_overrides},
        files=[
            FileTemplate(path=file.path, content=file.content, mode=file.mode, is_template=file.is_template)
            for file in config.files
        ],
        stop_command=config.stop_command,
        values=values,
    )


def build(
    *,
    session: Session,
    deployment: ServerGameConfig,
    config: GameConfig,
    volumes: Sequence[GameConfigVolume],
    rendered: Rendered,
    values: Mapping[str, str],
    force: bool,
    now: datetime,
) -> commands.StartSession:
    """Return the command that starts `session`, with `rendered` as its config and `values` as its parameters.

    What the deployment says about limits and about stopping wins over the config, one by one. Restart policies are not
    in it: hosts start nothing by themselves. Raises `Conflict` when the config's query asks at a port without a name.
    """
    query = ReadyQuery(config.ready_query_kind, config.ready_query_port)
    return commands.StartSession(
        session_id=session.session_id,
        sgc_id=deployment.sgc_id,
        force=force,
        game_config=commands.GameConfig(
            config_id=config.config_id,
            image=config.image,
            args_template=rendered.args,
            env_template=rendered.env,
            entrypoint=list(rendered.entrypoint),
            command=list(rendered.command),
            volumes=[_volume(volume) for volume in volumes],
            files=[
                commands.File(path=file.path, content=file.content, mode=file.mode, merge=file.merge)
                for file in rendered.files
            ],
            parameters=[
                commands.Parameter(
                    key=parameter.key,
                    value=values.get(parameter.key, ""),
                    type=parameter.type,
                    description=parameter.description,
                    required=parameter.required,
                    default_value=parameter.default_value,
                )
                for parameter in (row.declared for row in config.parameters)
            ],
        ),
        server_game_config=commands.ServerGameConfig(
            sgc_id=deployment.sgc_id,
            port_bindings=[
                commands.PortBinding(
                    container_port=port.container_port, host_port=port.host_port, protocol=port.protocol
                )
                for port in deployment.ports
            ],
            parameters=deployment.parameters,
        ),
        parameters=dict(values),
        stop_command=render_text(deployment.stop_command, values) or rendered.stop_command,
        stop_timeout_seconds=deployment.stop_timeout_seconds or config.stop_timeout_seconds,
        stop_signal=deployment.stop_signal or config.stop_signal,
        resources=commands.Resources(
            memory_mb=deployment.memory_mb or config.memory_mb,
            cpu_millicores=deployment.cpu_millicores or config.cpu_millicores,
            pids=deployment.pids_limit or config.pids_limit,
        ),
        isolation=commands.Isolation(
            read_only_root=config.read_only_root,
            no_capabilities=config.no_capabilities,
            extra_capabilities=list(config.extra_capabilities),
            init=config.with_init,
        ),
        readiness=commands.Readiness(
            pattern=config.ready_pattern,
            query=query.kind,
            port=query_port(query, deployment.ports),
            liveness_limit_seconds=config.liveness_limit_seconds,
        ),
        issued_at=now,
        deadline_at=session.deadline_at,
    )


def _volume(row: GameConfigVolume) -> commands.Volume:
    return commands.Volume(
        name=row.name,
        container_path=row.container_path,
        host_subpath=row.host_subpath or "",
        volume_type=row.volume_type,
        options={"read_only": "true"} if row.read_only else {},
    )
