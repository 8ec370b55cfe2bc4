"""Hosts: who they are, and their signs of life over gRPC (most come over the bus, to the processor)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from manman.db import transitions
from manman.domain.hosts import HostStatus, came_back, check_address
from manman.domain.ports import check_ranges
from manman.errors import Conflict, Invalid, NotFound
from manman_api import masks
from manman_api.handlers.removals import end_what_is_out_of_sight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from manman.db.models import Server, ServerCapability
    from manman.db.samples import Point
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.hosts import Capabilities
    from manman.domain.samples import Window
    from manman_api.paging import Page


class Host(NamedTuple):
    """A host and the newest of what it said it offers."""

    row: Server
    capability: ServerCapability | None


async def list_servers(*, page: Page, uow: Uow) -> tuple[list[Host], str]:
    """Return a page of hosts by id, and the token of the next."""
    hosts, token = page.cut(await uow.reads.servers.list(limit=page.limit, offset=page.offset))
    return [Host(*host) for host in hosts], token


async def get_server(*, server_id: int, uow: Uow) -> Host:
    """Return a host; raise `NotFound`."""
    return Host(*await uow.reads.servers.get(server_id))


async def create_server(*, name: str, uow: Uow) -> Host:
    """Add a host that has not been heard yet; the first one becomes the default. Raise `AlreadyExists`."""
    async with uow() as tx:
        row = await tx.servers.add(name=name)
        await tx.commit()
        return Host(row, None)


async def update_server(
    *, server_id: int, values: Mapping[str, object], update_paths: Sequence[str], now: datetime, uow: Uow
) -> Host:
    """Change name, status, default flag, public address or port ranges.

    Making a host the default unmakes the one before. Address and ranges win over what the host announces; empty, that
    holds again.
    """
    wanted = masks.changes(update_paths, values, mandatory=("name", "status"))
    problems = check_address(wanted.get("public_address", "")) + check_ranges(wanted.get("port_ranges", ()))
    if problems:
        raise Invalid(problems)
    async with uow() as tx:
        chooses = bool(wanted.get("is_default"))
        row = await (tx.servers.lock_to_make_default(server_id) if chooses else tx.servers.lock(server_id))
        row.name = wanted.get("name", row.name)
        if "status" in wanted:
            _set_status(tx, row, wanted["status"], reason="set_by_operator", now=now)
        if "is_default" in wanted:
            await _set_default(tx, row, wanted=wanted["is_default"])
        if "public_address" in wanted:
            row.public_address = wanted["public_address"] or None
        if "port_ranges" in wanted:
            row.port_ranges = [dataclasses.asdict(span) for span in wanted["port_ranges"]]
        await tx.commit()
        return await _host(tx, row)


async def set_draining(*, server_id: int, draining: bool, uow: Uow) -> Host:
    """Let no new session start on a host, or let them again; what runs goes on. Raise `NotFound`."""
    async with uow() as tx:
        row = await tx.servers.lock(server_id)
        row.draining = draining
        await tx.commit()
        return await _host(tx, row)


async def list_capabilities(*, server_id: int, limit: int, uow: Uow) -> Sequence[ServerCapability]:
    """Return what a host said it offers, newest first; raise `NotFound`."""
    async with uow() as tx:
        await tx.servers.get(server_id)
        return await tx.servers.capability_history(server_id, limit=limit)


async def get_stats(*, server_id: int, window: Window, uow: Uow) -> Sequence[Point]:
    """Return what a host used; raise `NotFound`."""
    await uow.reads.servers.get(server_id)
    return await uow.reads.samples.of_server(server_id, window)


async def delete_server(*, server_id: int, uow: Uow) -> None:
    """Remove a host with all its deployments; an unknown id is fine. `Conflict` while a session is live."""
    async with uow() as tx:
        try:
            await tx.servers.lock(server_id)
        except NotFound:
            return
        await tx.deployments.lock_below(server_id=server_id)
        live = await tx.sessions.count_live(server_id=server_id)
        if live:
            raise Conflict(f"server {server_id} has {live} live sessions; stop them first")
        await end_what_is_out_of_sight(tx, server_id=server_id)
        await tx.servers.delete(server_id)
        await tx.commit()


async def register_server(
    *,
    name: str,
    capabilities: Capabilities | None,
    environment: str,
    features: Sequence[str],
    public_address: str,
    now: datetime,
    uow: Uow,
) -> Host:
    """Create or reuse the host of that name, online as of now. Repeating it changes nothing but the times."""
    async with uow() as tx:
        row = await tx.servers.register(
            name=name, now=now, environment=environment, features=features, public_address=public_address
        )
        _set_status(tx, row, HostStatus.ONLINE, reason="registered", now=now)
        await _record(tx, row.server_id, capabilities, now)
        await tx.commit()
        return await _host(tx, row)


async def heartbeat(*, server_id: int, capabilities: Capabilities | None, now: datetime, uow: Uow) -> None:
    """Take a sign of life; a host that was offline is online again and that is announced. Raise `NotFound`.

    Capabilities without ports leave the ports that were announced before.
    """
    async with uow() as tx:
        row = await tx.servers.lock(server_id)
        row.last_seen = max(now, row.last_seen or now)
        if came_back(row.status):
            _set_status(tx, row, HostStatus.ONLINE, reason="heartbeat", now=now)
        if capabilities is not None and not capabilities.available_ports:
            before = (await tx.servers.capabilities([server_id])).get(server_id)
            ports = () if before is None else before.offer.available_ports
            capabilities = dataclasses.replace(capabilities, available_ports=ports)
        await _record(tx, server_id, capabilities, now)
        await tx.commit()


async def _host(tx: Transaction, row: Server) -> Host:
    newest = await tx.servers.capabilities([row.server_id])
    return Host(row, newest.get(row.server_id))


def _set_status(tx: Transaction, row: Server, status: str, *, reason: str, now: datetime) -> None:
    if status == row.status:
        return
    previous, row.status = row.status, str(status)
    row.status_since = now
    transitions.announce_host(tx, row, str(status), previous=previous, reason=reason, now=now)


async def _set_default(tx: Transaction, row: Server, *, wanted: bool) -> None:
    if wanted:
        await tx.servers.make_default(row)
    elif row.is_default:
        raise Conflict(f"server {row.server_id} is the default; make another one the default instead")


async def _record(tx: Transaction, server_id: int, capabilities: Capabilities | None, now: datetime) -> None:
    if capabilities is None:
        return
    values: dict[str, Any] = {
        "total_memory_mb": capabilities.total_memory_mb,
        "available_memory_mb": capabilities.available_memory_mb,
        "cpu_cores": capabilities.cpu_cores,
        "available_cpu_millicores": capabilities.available_cpu_millicores,
        "docker_version": capabilities.docker_version or None,
        "available_ports": [
            {"start": span.start, "end": span.end, "protocol": span.protocol} for span in capabilities.available_ports
        ],
    }
    await tx.servers.add_capability(server_id, now=now, values=values)
