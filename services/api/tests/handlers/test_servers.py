import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from manman.domain.hosts import Capabilities
from manman.domain.ports import PortRange
from manman.errors import AlreadyExists, Conflict, Invalid, NotFound
from manman.messages.codec import decode
from manman.messages.external import HostEvent
from manman_api.handlers import servers, sessions
from manman_api.paging import Page

OFFER = Capabilities(
    total_memory_mb=16000,
    available_memory_mb=8000,
    cpu_cores=4,
    available_cpu_millicores=4000,
    docker_version="20.10",
    available_ports=(PortRange(start=30000, end=30010, protocol="UDP"),),
)


async def update(world: Any, row: Any, *, paths: Sequence[str] = (), **values: Any) -> Any:
    every = {"name": "", "status": "", "is_default": False, **values}
    return await servers.update_server(
        server_id=row.server_id, values=every, update_paths=list(paths), now=world.now, uow=world.uow
    )


async def outbox(uow: Any) -> Any:
    async with uow() as tx:
        return [(row.routing_key, decode(HostEvent, row.body)) for row in await tx.outbox.unpublished(limit=100)]


async def test_registering_twice_by_name_is_one_host(world: Any) -> None:
    first = await world.host("a", environment="dev", features=["kill"], public_address="203.0.113.7")
    again = await world.host("a", capabilities=OFFER)

    host = await servers.get_server(server_id=first.server_id, uow=world.uow)
    assert again.server_id == first.server_id
    assert (host.row.status, host.row.last_seen, host.row.environment) == ("online", world.now, "dev")
    assert host.capability is not None
    assert host.capability.available_ports == [{"start": 30000, "end": 30010, "protocol": "UDP"}]


async def test_twenty_hosts_registering_at_once_make_one_default(world: Any) -> None:
    await asyncio.gather(*(world.host(f"h{number % 10}") for number in range(20)))

    hosts, _ = await servers.list_servers(page=Page(100), uow=world.uow)
    assert len(hosts) == 10
    assert sum(host.row.is_default for host in hosts) == 1


async def test_the_first_host_is_the_default_and_a_swap_keeps_one(world: Any) -> None:
    first = (await servers.create_server(name="a", uow=world.uow)).row
    second = (await servers.create_server(name="b", uow=world.uow)).row
    assert (first.is_default, first.status, second.is_default) == (True, "offline", False)

    await update(world, second, is_default=True)

    hosts, _ = await servers.list_servers(page=Page(), uow=world.uow)
    assert [host.row.is_default for host in hosts] == [False, True]


async def test_who_becomes_the_default_and_who_says_hello_never_wait_for_each_other_in_a_circle(world: Any) -> None:
    rows = [(await servers.create_server(name=name, uow=world.uow)).row for name in ("a", "b", "c")]

    async def hear_all() -> None:
        async with world.uow() as tx:
            await tx.servers.lock_all([row.server_id for row in rows])
            await tx.commit()

    for number in range(20):
        row = rows[number % 3]
        await asyncio.gather(
            update(world, row, is_default=True),
            world.host(row.name),
            hear_all(),
            update(world, rows[(number + 1) % 3], is_default=True),
        )

    hosts, _ = await servers.list_servers(page=Page(100), uow=world.uow)
    assert sum(host.row.is_default for host in hosts) == 1


async def test_the_default_cannot_just_be_switched_off(world: Any) -> None:
    row = await world.host()

    with pytest.raises(Conflict, match="make another one the default"):
        await update(world, row, paths=["is_default"])


async def test_a_name_is_unique(world: Any) -> None:
    await world.host("a")
    other = await world.host("b")

    with pytest.raises(AlreadyExists, match="already exists"):
        await servers.create_server(name="a", uow=world.uow)
    with pytest.raises(AlreadyExists, match="already exists"):
        await update(world, other, name="a")


async def test_an_update_changes_what_it_names_and_nothing_else(world: Any) -> None:
    row = await world.host("a", environment="dev")

    changed = (await update(world, row, name="b", status="offline", paths=["name"])).row

    assert (changed.name, changed.status, changed.environment) == ("b", "online", "dev")
    with pytest.raises(Invalid, match="must not be empty"):
        await update(world, row, paths=["name"])
    with pytest.raises(Invalid, match="cannot be updated"):
        await update(world, row, paths=["last_seen"])


async def test_an_unknown_host_is_not_found(world: Any) -> None:
    with pytest.raises(NotFound):
        await servers.get_server(server_id=99, uow=world.uow)
    with pytest.raises(NotFound):
        await servers.heartbeat(server_id=99, capabilities=None, now=world.now, uow=world.uow)


async def test_a_heartbeat_brings_an_offline_host_back_and_says_so_once(world: Any) -> None:
    row = (await servers.create_server(name="a", uow=world.uow)).row
    later = world.now + timedelta(seconds=30)

    for moment in (world.now, later):
        await servers.heartbeat(server_id=row.server_id, capabilities=OFFER, now=moment, uow=world.uow)

    host = await servers.get_server(server_id=row.server_id, uow=world.uow)
    assert (host.row.status, host.row.last_seen) == ("online", later)
    events = await outbox(world.uow)
    assert [(key, event.status, event.previous_status) for key, event in events] == [
        ("manman.host.online", "online", "offline")
    ]


async def test_a_heartbeat_that_says_no_ports_leaves_those_that_were_announced(world: Any) -> None:
    row = await world.host(capabilities=OFFER)
    await servers.heartbeat(
        server_id=row.server_id, capabilities=Capabilities(available_memory_mb=5), now=world.now, uow=world.uow
    )
    host = await servers.get_server(server_id=row.server_id, uow=world.uow)
    assert host.capability is not None
    assert host.capability.available_memory_mb == 5
    assert host.capability.available_ports == [{"start": 30000, "end": 30010, "protocol": "UDP"}]


async def test_a_late_heartbeat_does_not_turn_the_clock_back(world: Any) -> None:
    row = await world.host()

    earlier = world.now - timedelta(seconds=30)
    await servers.heartbeat(server_id=row.server_id, capabilities=None, now=earlier, uow=world.uow)

    assert (await servers.get_server(server_id=row.server_id, uow=world.uow)).row.last_seen == world.now


async def test_a_host_with_a_live_session_cannot_be_removed(world: Any) -> None:
    deployment = await world.deployment()
    run = await start(world, deployment)

    with pytest.raises(Conflict, match="1 live sessions"):
        await servers.delete_server(server_id=deployment.server_id, uow=world.uow)

    assert (await sessions.get_session(session_id=run.session_id, uow=world.uow)).status == "pending"


async def test_removing_a_host_removes_its_deployments_and_may_be_repeated(world: Any) -> None:
    deployment = await world.deployment()

    for _ in range(2):
        await servers.delete_server(server_id=deployment.server_id, uow=world.uow)

    async with world.uow() as tx:
        assert await tx.deployments.list() == []


async def start(world: Any, deployment: Any) -> Any:
    return await sessions.start_session(
        deployment_id=deployment.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
    )
