"""Deployments: a config placed on a host. A deployment is a fact in the database; no message is sent.

It holds its host ports from here until it is removed. The host's row is locked first, so deployments of one host choose
their ports one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from manman.domain import deployments, parameters, ports
from manman.domain.hosts import Capabilities, HostStatus
from manman.domain.ports import PortBinding, PortRange, WantedPort
from manman.errors import Conflict, NotFound
from manman_api import masks
from manman_api.handlers import configuration
from manman_api.handlers.configs import declared
from manman_api.handlers.removals import end_what_is_out_of_sight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from manman.db.models import GameConfig, GameConfigVolume, ServerCapability, ServerGameConfig
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.deployments import Review
    from manman_api.paging import Page


class DeploymentValues(TypedDict):
    """What an update says about a deployment."""

    port_bindings: list[WantedPort]
    parameters: dict[str, str]
    status: str


async def list_deployments(*, server_id: int, page: Page, uow: Uow) -> tuple[list[ServerGameConfig], str]:
    """Return a page of deployments by id, of one host when `server_id` is not 0, and the token of the next."""
    async with uow() as tx:
        return page.cut(await tx.deployments.list(server_id=server_id, limit=page.limit, offset=page.offset))


async def get_deployment(*, deployment_id: int, uow: Uow) -> ServerGameConfig:
    """Return a deployment; raise `NotFound`."""
    async with uow() as tx:
        return await tx.deployments.get(deployment_id)


async def deploy(
    *,
    server_id: int,
    game_config_id: int,
    wanted: Sequence[WantedPort],
    values: Mapping[str, str],
    default_ranges: Sequence[PortRange],
    now: datetime,
    uow: Uow,
) -> ServerGameConfig:
    """Place a config on a host and reserve its ports; host port 0 takes the lowest free one.

    Raises:
        NotFound: there is no such host or config.
        Invalid: ports or parameters cannot be; every problem is named.
        Conflict: a configuration strategy cannot be rendered; it is named with the patch at fault.
        Exhausted: a port is held (by whom is said), or none is free.
        AlreadyExists: this config is on this host already.

    """
    async with uow() as tx:
        await tx.servers.lock(server_id)
        config = await tx.configs.get(game_config_id)
        await _try_to_render(tx, config, values)
        ranges = await _ranges(tx, server_id, default_ranges)
        bindings = ports.allocate(wanted, await tx.ports.taken(server_id), ranges)
        row = await tx.deployments.add(
            server_id=server_id,
            game_config_id=game_config_id,
            port_bindings=_stored(bindings),
            parameters=values,
            status="inactive",
        )
        await tx.ports.replace(server_id=server_id, sgc_id=row.sgc_id, bindings=bindings, now=now)
        await tx.commit()
        return row


async def update_deployment(
    *,
    deployment_id: int,
    values: DeploymentValues,
    update_paths: Sequence[str],
    default_ranges: Sequence[PortRange],
    now: datetime,
    uow: Uow,
) -> ServerGameConfig:
    """Change ports, parameters or status; a running session keeps what it was started with.

    New ports are reserved and old ones given up in one step. A port that is given up must not be in use: `Conflict`
    while a session is live.
    """
    wanted = masks.changes(update_paths, values, mandatory=("status",))
    async with uow() as tx:
        server_id = (await tx.deployments.get(deployment_id)).server_id
        await tx.servers.lock(server_id)
        row = await tx.deployments.lock(deployment_id)
        if "parameters" in wanted:
            config = await tx.configs.get(row.game_config_id)
            await _try_to_render(tx, config, wanted["parameters"], deployment_id)
            row.parameters = wanted["parameters"]
        if "port_bindings" in wanted:
            await _replace_ports(tx, row, wanted["port_bindings"], default_ranges, now)
        row.status = wanted.get("status", row.status)
        await tx.commit()
        return row


async def undeploy(*, deployment_id: int, uow: Uow) -> None:
    """Remove a deployment and free its ports; an unknown id is fine. `Conflict` while a session is live."""
    async with uow() as tx:
        try:
            await tx.deployments.lock(deployment_id)
        except NotFound:
            return
        live = await tx.sessions.lock_live_of(deployment_id)
        if live:
            session = live[0]
            raise Conflict(
                f"deployment {deployment_id} has the live session {session.session_id} ({session.status}); "
                "stop it first"
            )
        await end_what_is_out_of_sight(tx, sgc_id=deployment_id)
        await tx.deployments.delete(deployment_id)
        await tx.commit()


async def validate_deployment(
    *, server_id: int, game_config_id: int, wanted: Sequence[WantedPort], values: Mapping[str, str], uow: Uow
) -> Review:
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
        return deployments.review(
            wanted=wanted,
            taken=await tx.ports.taken(server_id),
            declared=declared(config),
            layers=[values],
            host_is_online=server.status == HostStatus.ONLINE,
            capabilities=_capabilities(newest),
            needs=_needs(config, await tx.volumes.list(config_id=game_config_id)),
            features=server.features,
            memory_mb=config.memory_mb,
            cpu_millicores=config.cpu_millicores,
        )


def _needs(config: GameConfig, volumes: Sequence[GameConfigVolume]) -> dict[str, str]:
    """Return the features that a host needs for this config, and the field that each is for."""
    wanted = {
        deployments.ENTRYPOINT: ("entrypoint", config.entrypoint),
        deployments.CONFIG_FILES: ("files", config.files),
        deployments.READ_ONLY_VOLUMES: ("volumes", [volume for volume in volumes if volume.read_only]),
    }
    return {feature: field for feature, (field, used) in wanted.items() if used}


async def _try_to_render(
    tx: Transaction, config: GameConfig, values: Mapping[str, str], deployment_id: int = 0
) -> None:
    """Refuse parameters that no session could start with, and a configuration that cannot be rendered with them."""
    resolved = parameters.resolve(declared(config), [values])
    await configuration.render(
        tx, config, configuration.Occasion(deployment_id=deployment_id, deployment=values), resolved.values
    )


async def _ranges(tx: Transaction, server_id: int, default_ranges: Sequence[PortRange]) -> Sequence[PortRange]:
    """Return what the host offered last, or the default when it leaves the choice to us."""
    offered = _capabilities((await tx.servers.capabilities([server_id])).get(server_id))
    return (offered.available_ports if offered else ()) or default_ranges


async def _replace_ports(
    tx: Transaction,
    row: ServerGameConfig,
    wanted: Sequence[WantedPort],
    default_ranges: Sequence[PortRange],
    now: datetime,
) -> None:
    held = [PortBinding(**binding) for binding in row.port_bindings]
    taken = await tx.ports.taken(row.server_id, except_sgc_id=row.sgc_id)
    ranges = await _ranges(tx, row.server_id, default_ranges)
    bindings = ports.allocate(_keep_automatic(wanted, held), taken, ranges)
    given_up = {binding.key for binding in held} - {binding.key for binding in bindings}
    live = await tx.sessions.lock_live_of(row.sgc_id) if given_up else []
    if live:
        protocol, number = min(given_up)
        raise Conflict(
            f"port {number}/{protocol} is in use by session {live[0].session_id} ({live[0].status}); stop it first"
        )
    row.port_bindings = _stored(bindings)
    await tx.ports.replace(server_id=row.server_id, sgc_id=row.sgc_id, bindings=bindings, now=now)


def _keep_automatic(wanted: Sequence[WantedPort], held: Sequence[PortBinding]) -> list[WantedPort]:
    """Let "any port" mean the one held for the same container port, so that an update moves no port without need."""
    free = {(port.container_port, port.protocol): port.host_port for port in held}
    asked = {(ports.protocol_of(port), port.host_port) for port in wanted if port.host_port}
    kept = []
    for port in wanted:
        protocol = ports.protocol_of(port)
        number = 0 if port.host_port else free.pop((port.container_port, protocol), 0)
        if number and (protocol, number) not in asked:
            kept.append(WantedPort(container_port=port.container_port, host_port=number, protocol=protocol))
        else:
            kept.append(port)
    return kept


def _stored(bindings: Sequence[PortBinding]) -> list[dict[str, int | str]]:
    return [
        {"container_port": port.container_port, "host_port": port.host_port, "protocol": port.protocol}
        for port in bindings
    ]


def _capabilities(row: ServerCapability | None) -> Capabilities | None:
    if row is None:
        return None
    return Capabilities(
        total_memory_mb=row.total_memory_mb,
        available_memory_mb=row.available_memory_mb,
        cpu_cores=row.cpu_cores,
        available_cpu_millicores=row.available_cpu_millicores,
        docker_version=row.docker_version or "",
        available_ports=tuple(PortRange(**span) for span in row.available_ports),
    )
