"""Deployments: a config placed on a host. A deployment is a fact in the database; no message is sent.

It holds its host ports from here until it is removed. Hosts are locked first and in id order, then deployments in id
order: deployments of one host choose their ports one after the other.

What speaks for and against one that is not made yet is in `manman_api.handlers.deployment_review`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from manman.domain import parameters, ports
from manman.domain.configs import check_environment
from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, NotFound, Problem
from manman_api import masks
from manman_api.handlers import configuration
from manman_api.handlers.configs import check_run_settings, declared, run_settings_columns
from manman_api.handlers.removals import end_what_is_out_of_sight

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from manman.db.models import DeploymentRestart, GameConfig, Server, ServerGameConfig
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.configs import RestartPolicy
    from manman.domain.idempotency import Attempt
    from manman.domain.ports import PortBinding, PortRange, WantedPort
    from manman_api.paging import Page

OVERRIDES = ("env_overrides", "resources", "stop_command", "stop_timeout_seconds", "stop_signal", "restart_policy")
"""What a deployment may say differently from its config."""


class DeploymentValues(TypedDict):
    """What a request says about a deployment. `resources` maps the names of `configs.LIMITS`; None when it has none."""

    port_bindings: list[WantedPort]
    parameters: dict[str, str]
    status: str
    env_overrides: dict[str, str]
    resources: dict[str, int] | None
    stop_command: str
    stop_timeout_seconds: int
    stop_signal: str
    restart_policy: RestartPolicy | None


class DeploymentUpdate(NamedTuple):
    """One update of several: which deployment, and which of the values are meant."""

    deployment_id: int
    values: DeploymentValues
    update_paths: Sequence[str]


class Deployed(NamedTuple):
    """A deployment, its host, and what was decided about its last session if that ended by itself."""

    row: ServerGameConfig
    server: Server
    restart: DeploymentRestart | None = None


async def list_deployments(*, server_id: int, page: Page, uow: Uow) -> tuple[list[Deployed], str]:
    """Return a page of deployments by id, of one host when `server_id` is not 0, and the token of the next."""
    async with uow() as tx:
        rows, token = page.cut(await tx.deployments.list(server_id=server_id, limit=page.limit, offset=page.offset))
        servers = await tx.servers.by_ids({row.server_id for row in rows})
        restarts = await tx.restarts.of([row.sgc_id for row in rows])
        return [Deployed(row, servers[row.server_id], restarts.get(row.sgc_id)) for row in rows], token


async def get_deployment(*, deployment_id: int, uow: Uow) -> Deployed:
    """Return a deployment; raise `NotFound`."""
    async with uow() as tx:
        return await _placed(tx, deployment_id)


async def deploy(
    *,
    server_id: int,
    game_config_id: int,
    values: DeploymentValues,
    default_ranges: Sequence[PortRange],
    now: datetime,
    uow: Uow,
    attempt: Attempt | None = None,
) -> Deployed:
    """Place a config on a host and reserve its ports; host port 0 takes the lowest free one.

    When an earlier attempt made a deployment, that one is returned as it is.

    Raises:
        NotFound: there is no such host or config.
        Invalid: ports, parameters or overrides cannot be; every problem is named.
        Conflict: a configuration strategy cannot be rendered; it is named with the patch at fault.
        Exhausted: a port is held (by whom is said), or none is free.
        AlreadyExists: this config is on this host already.

    """
    _refuse(check_overrides(values))
    async with uow() as tx:
        earlier = await tx.idempotency_keys.made_before(attempt, now=now)
        if earlier is not None:
            return await _placed(tx, earlier)
        server = await tx.servers.lock(server_id)
        config = await tx.configs.get(game_config_id)
        for there in await tx.deployments.list(server_id=server_id, game_config_id=game_config_id, limit=1):
            raise AlreadyExists("deployment", f"{there.sgc_id} of config {config.name} on server {server_id}")
        await _try_to_render(tx, config, values["parameters"], values["env_overrides"])
        ranges = await _ranges(tx, server, default_ranges)
        bindings = ports.allocate(values["port_bindings"], await tx.ports.taken(server_id), ranges)
        row = await tx.deployments.add(
            server_id=server_id,
            game_config_id=game_config_id,
            port_bindings=_stored(bindings),
            parameters=values["parameters"],
            status="inactive",
            **_columns(values),
        )
        await tx.ports.replace(server_id=server_id, sgc_id=row.sgc_id, bindings=bindings, now=now)
        await tx.idempotency_keys.made(attempt, row.sgc_id)
        await tx.commit()
        return Deployed(row, server)


async def update_deployment(
    *,
    deployment_id: int,
    values: DeploymentValues,
    update_paths: Sequence[str],
    default_ranges: Sequence[PortRange],
    now: datetime,
    uow: Uow,
) -> Deployed:
    """Change a deployment; a running session keeps what it was started with.

    New ports are reserved and old ones given up in one step. A port that is given up must not be in use: `Conflict`
    while a session is live.
    """
    wanted = _changes(values, update_paths)
    async with uow() as tx:
        found = _found(await _lock(tx, [deployment_id]), deployment_id)
        await _release(tx, {deployment_id: wanted})
        await _apply(tx, found, wanted, default_ranges, now)
        await tx.commit()
        return found


async def update_deployments(
    *, updates: Sequence[DeploymentUpdate], default_ranges: Sequence[PortRange], now: datetime, uow: Uow
) -> list[Deployed]:
    """Change several deployments as `update_deployment` does, all or none; return them in the order given.

    Ports that one gives up are free for all. Every error names the request by its place, and the deployment.
    """
    problems = _repeated(updates)
    changes: dict[int, dict[str, Any]] = {}
    for index, (deployment_id, values, update_paths) in enumerate(updates):
        with _in_request(index, deployment_id, problems):
            changes[deployment_id] = _changes(values, update_paths)
    _refuse(problems)
    async with uow() as tx:
        locked = await _lock(tx, changes)
        await _release(tx, changes)
        for index, deployment_id in enumerate(changes):
            with _in_request(index, deployment_id, problems):
                found = _found(locked, deployment_id)
                await _apply(tx, found, changes[deployment_id], default_ranges, now)
        _refuse(problems)
        await tx.commit()
        return [locked[deployment_id] for deployment_id in changes]


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


def check_overrides(wanted: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with what a deployment says differently from its config."""
    return [*check_environment(wanted.get("env_overrides", {}), "env_overrides"), *check_run_settings(wanted)]


def _changes(values: DeploymentValues, update_paths: Sequence[str]) -> dict[str, Any]:
    wanted = masks.changes(update_paths, values, mandatory=("status",))
    _refuse(check_overrides(wanted))
    return wanted


def _columns(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return run_settings_columns({name: value for name, value in wanted.items() if name in OVERRIDES})


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise Invalid(problems)


async def _placed(tx: Transaction, deployment_id: int) -> Deployed:
    row = await tx.deployments.get(deployment_id)
    restarts = await tx.restarts.of([deployment_id])
    return Deployed(row, await tx.servers.get(row.server_id), restarts.get(deployment_id))


async def _lock(tx: Transaction, deployment_ids: Collection[int]) -> dict[int, Deployed]:
    """Lock the deployments that exist and their hosts, each in id order; return them by id."""
    origins = await tx.deployments.origins(deployment_ids)
    servers = await tx.servers.lock_all({origin.server_id for origin in origins.values()})
    rows = await tx.deployments.lock_all(origins)
    restarts = await tx.restarts.of(rows)
    return {sgc_id: Deployed(row, servers[row.server_id], restarts.get(sgc_id)) for sgc_id, row in rows.items()}


def _found(locked: Mapping[int, Deployed], deployment_id: int) -> Deployed:
    if deployment_id not in locked:
        raise NotFound("deployment", deployment_id)
    return locked[deployment_id]


async def _release(tx: Transaction, changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Free the ports of those that get new ones: they may take each other's."""
    await tx.ports.release([sgc_id for sgc_id, wanted in changes.items() if "port_bindings" in wanted])


async def _apply(
    tx: Transaction,
    found: Deployed,
    wanted: Mapping[str, Any],
    default_ranges: Sequence[PortRange],
    now: datetime,
) -> None:
    """Change a locked deployment whose ports are released if they change."""
    row = found.row
    if "parameters" in wanted or "env_overrides" in wanted:
        values = wanted.get("parameters", row.parameters)
        env = wanted.get("env_overrides", row.env_overrides)
        await _try_to_render(tx, await tx.configs.get(row.game_config_id), values, env, row.sgc_id)
        row.parameters = values
    if "port_bindings" in wanted:
        await _reserve(tx, found, wanted["port_bindings"], default_ranges, now)
    row.status = wanted.get("status", row.status)
    for column, value in _columns(wanted).items():
        setattr(row, column, value)


async def _try_to_render(
    tx: Transaction,
    config: GameConfig,
    values: Mapping[str, str],
    env_overrides: Mapping[str, str],
    deployment_id: int = 0,
) -> None:
    """Refuse parameters that no session could start with, and a configuration that cannot be rendered with them."""
    resolved = parameters.resolve(declared(config), [values])
    occasion = configuration.Occasion(deployment_id=deployment_id, deployment=values, env_overrides=env_overrides)
    await configuration.render(tx, config, occasion, resolved.values)


async def _ranges(tx: Transaction, server: Server, default_ranges: Sequence[PortRange]) -> Sequence[PortRange]:
    """Return the ranges that an operator set, else what the host offered last, else the default."""
    if server.ranges:
        return server.ranges
    newest = (await tx.servers.capabilities([server.server_id])).get(server.server_id)
    return (newest.offer.available_ports if newest else ()) or default_ranges


async def _reserve(
    tx: Transaction,
    found: Deployed,
    wanted: Sequence[WantedPort],
    default_ranges: Sequence[PortRange],
    now: datetime,
) -> None:
    row, server, _ = found
    taken = await tx.ports.taken(server.server_id)
    bindings = ports.allocate(ports.keep(wanted, row.ports), taken, await _ranges(tx, server, default_ranges))
    given_up = {port.key for port in row.ports} - {port.key for port in bindings}
    live = await tx.sessions.live_ids([row.sgc_id]) if given_up else {}
    if live:
        protocol, number = min(given_up)
        raise Conflict(f"port {number}/{protocol} is in use by session {live[row.sgc_id]}; stop it first")
    row.port_bindings = _stored(bindings)
    await tx.ports.replace(server_id=server.server_id, sgc_id=row.sgc_id, bindings=bindings, now=now)


def _stored(bindings: Sequence[PortBinding]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(port) for port in bindings]


def _repeated(updates: Sequence[DeploymentUpdate]) -> list[Problem]:
    ids = [update.deployment_id for update in updates]
    return [
        Problem(
            f"requests[{index}].server_game_config_id",
            f"deployment {deployment_id} is in requests[{ids.index(deployment_id)}] already; say it all there",
        )
        for index, deployment_id in enumerate(ids)
        if ids.index(deployment_id) != index
    ]


@contextlib.contextmanager
def _in_request(index: int, deployment_id: int, problems: list[Problem]) -> Iterator[None]:
    """Name one request of several in what the block raises; an `Invalid` is added to `problems` instead."""
    place = f"requests[{index}] (deployment {deployment_id})"
    try:
        yield
    except Invalid as refused:
        problems += [
            Problem(f"requests[{index}].{problem.field}", f"{problem.message} (deployment {deployment_id})")
            for problem in refused.problems
        ]
    except NotFound as refused:
        raise NotFound(refused.kind, f"{refused.key}, named by requests[{index}]") from refused
    except Conflict as refused:
        raise Conflict(f"{place}: {refused.reason}") from refused
    except Exhausted as refused:
        raise Exhausted(f"{place}: {refused.what}", refused.holder) from refused
