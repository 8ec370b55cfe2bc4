import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from manman.db.models import Session
from manman.domain.ports import PortBinding
from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, ManManError, NotFound


async def test_a_deployment_has_one_live_session(uow: Any, world: Any) -> None:
    sgc_id = await world.deploy()
    await world.session(sgc_id)
    async with uow() as tx:
        with pytest.raises(Conflict, match="live session"):
            await tx.sessions.add(sgc_id=sgc_id, now=world.now)


async def test_of_twenty_racing_starts_one_wins(world: Any) -> None:
    sgc_id = await world.deploy()

    async def start() -> type[Exception] | None:
        try:
            await world.session(sgc_id)
        except ManManError as error:
            return type(error)
        return None

    outcomes = await asyncio.gather(*(start() for _ in range(20)))
    assert outcomes.count(None) == 1
    assert outcomes.count(Conflict) == 19


async def test_a_host_port_has_one_holder_per_protocol(uow: Any, world: Any) -> None:
    first, second = await world.deploy(), await world.deploy()

    async def hold(sgc_id: int, protocol: str) -> None:
        async with uow() as tx:
            binding = PortBinding(container_port=3979, host_port=3979, protocol=protocol)
            await tx.ports.replace(server_id=world.server_id, sgc_id=sgc_id, bindings=[binding], now=world.now)
            await tx.commit()

    await hold(first, "TCP")
    await hold(second, "UDP")
    with pytest.raises(Exhausted, match="3979"):
        await hold(second, "TCP")
    async with uow() as tx:
        taken = await tx.ports.taken(world.server_id)
        assert taken == {
            ("TCP", 3979): f"deployment {first} (config 1)",
            ("UDP", 3979): f"deployment {second} (config 2)",
        }
        await tx.ports.release([first])
        assert await tx.ports.taken(world.server_id) == {("UDP", 3979): taken["UDP", 3979]}


async def test_deleting_a_deployment_frees_its_ports(uow: Any, world: Any) -> None:
    sgc_id = await world.deploy()
    async with uow() as tx:
        binding = PortBinding(container_port=1, host_port=1, protocol="TCP")
        await tx.ports.replace(server_id=world.server_id, sgc_id=sgc_id, bindings=[binding], now=world.now)
        await tx.deployments.delete(sgc_id)
        await tx.commit()
    async with uow() as tx:
        assert await tx.ports.taken(world.server_id) == {}


@pytest.mark.usefixtures("world")
async def test_a_name_that_is_taken_already_exists(uow: Any) -> None:
    async with uow() as tx:
        with pytest.raises(AlreadyExists, match="game OpenTTD already exists"):
            await tx.games.add(name="OpenTTD")
    async with uow() as tx:
        with pytest.raises(AlreadyExists, match="server host already exists"):
            await tx.servers.add(name="host")


async def test_a_parent_that_is_not_there_is_not_found(uow: Any) -> None:
    async with uow() as tx:
        with pytest.raises(NotFound, match="game 99"):
            await tx.configs.add(game_id=99, name="x", image="y")


@pytest.mark.parametrize(
    "column",
    [{"memory_mb": -1}, {"image": "x" * 501}, {"name": None}, {"pids_limit": 2**40}, {"stop_command": "a\x00b"}],
)
async def test_a_value_that_cannot_be_is_invalid(uow: Any, world: Any, column: dict[str, Any]) -> None:
    async with uow() as tx:
        with pytest.raises(Invalid):
            await tx.configs.add(**{"game_id": world.game_id, "name": "n", "image": "i", **column})


@pytest.mark.parametrize("status", ["exploded", "running"])
async def test_a_session_cannot_be_stored_in_a_state_that_contradicts_itself(uow: Any, world: Any, status: str) -> None:
    sgc_id = await world.deploy()
    async with uow() as tx:
        statement = text("INSERT INTO sessions (sgc_id, status, ended_at) VALUES (:sgc_id, :status, now())")
        with pytest.raises(Invalid):
            await tx._database_session.execute(statement, {"sgc_id": sgc_id, "status": status})


async def test_one_host_is_the_default(uow: Any, world: Any) -> None:
    async with uow() as tx:
        second = await tx.servers.add(name="second")
        assert not second.is_default
        await tx.servers.make_default(second)
        await tx.commit()
    async with uow() as tx:
        assert (await tx.servers.get_default()).server_id == second.server_id
        assert not (await tx.servers.get(world.server_id)).is_default


async def test_racing_registrations_make_one_host(uow: Any) -> None:
    async def register() -> int:
        async with uow() as tx:
            row = await tx.servers.register(name="new", now=(await _now(tx)))
            await tx.commit()
            return int(row.server_id)

    ids = await asyncio.gather(*(register() for _ in range(8)))
    assert len(set(ids)) == 1


async def test_deleting_a_host_takes_everything_below_it(uow: Any, world: Any) -> None:
    session_id = await world.session()
    async with uow() as tx:
        assert await tx.servers.delete(world.server_id)
        await tx.commit()
    async with uow() as tx:
        with pytest.raises(NotFound):
            await tx.sessions.get(session_id)
        assert not await tx.servers.delete(world.server_id)


async def _now(tx: Any) -> Any:
    return await tx._database_session.scalar(text("SELECT now()"))


def test_every_status_of_the_domain_is_allowed_by_the_schema() -> None:
    check = next(rule for rule in Session.__table__.constraints if str(rule.name) == "ck_sessions_status")
    for status in ("pending", "starting", "running", "stopping", "stopped", "crashed", "completed", "lost"):
        assert f"'{status}'" in str(check.sqltext)
