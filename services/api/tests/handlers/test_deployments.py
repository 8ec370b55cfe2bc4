import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from manman.domain.deployments import Severity
from manman.domain.hosts import Capabilities
from manman.domain.parameters import Declared
from manman.domain.ports import PortRange, WantedPort
from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, NotFound
from manman_api.handlers import deployments, sessions
from manman_api.handlers.deployment_review import validate_deployment
from manman_api.paging import Page


def tcp(host_port: int = 0, container_port: int = 1000) -> WantedPort:
    return WantedPort(container_port=container_port, host_port=host_port)


def ports_of(row: Any) -> list[int]:
    return [binding["host_port"] for binding in row.port_bindings]


async def update(world: Any, row: Any, *, paths: Sequence[str] = (), **values: Any) -> Any:
    found = await deployments.update_deployment(
        deployment_id=row.sgc_id,
        values=world.deployment_values(**values),
        update_paths=list(paths),
        default_ranges=world.ranges,
        now=world.now,
        uow=world.uow,
    )
    return found.row


async def start(world: Any, row: Any) -> Any:
    return await sessions.start_session(
        deployment_id=row.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
    )


async def test_port_zero_takes_the_lowest_free_port_of_the_default_range(world: Any) -> None:
    host = await world.host()

    first = await world.deploy(host, await world.config(), tcp(), tcp(container_port=2000))
    second = await world.deploy(host, await world.config(), tcp())

    assert (ports_of(first), ports_of(second)) == ([27000, 27001], [27002])
    assert first.status == "inactive"


async def test_the_ranges_that_the_host_announced_win(world: Any) -> None:
    offer = Capabilities(available_ports=(PortRange(start=40000, end=40001, protocol="TCP"),))
    host = await world.host(capabilities=offer)

    assert ports_of(await world.deploy(host, await world.config(), tcp())) == [40000]
    with pytest.raises(Exhausted, match="no free UDP port"):
        await world.deploy(host, await world.config(), WantedPort(container_port=1, protocol="udp"))


async def test_a_held_port_is_refused_by_the_holders_name_and_nothing_is_written(world: Any) -> None:
    host = await world.host()
    holder = await world.deploy(host, await world.config(name="Survival"), tcp(25565))

    with pytest.raises(Exhausted, match=rf"port 25565/TCP is held by deployment {holder.sgc_id} \(Survival\)"):
        await world.deploy(host, await world.config(), tcp(25565))

    rows, _ = await deployments.list_deployments(server_id=host.server_id, page=Page(), uow=world.uow)
    assert [found.row.sgc_id for found in rows] == [holder.sgc_id]


async def test_another_host_has_ports_of_its_own(world: Any) -> None:
    config = await world.config()

    for name in ("a", "b"):
        assert ports_of(await world.deploy(await world.host(name), config, tcp(25565))) == [25565]


async def test_a_full_range_is_named(world: Any) -> None:
    host = await world.host()
    await world.deploy(host, await world.config(), tcp(), tcp(), tcp())

    with pytest.raises(Exhausted, match="no free TCP port in 27000-27002"):
        await world.deploy(host, await world.config(), tcp())


async def test_a_config_is_once_on_a_host(world: Any) -> None:
    row = await world.deployment()

    async with world.uow() as tx:
        host, config = await tx.servers.get(row.server_id), await tx.configs.get(row.game_config_id)
    with pytest.raises(AlreadyExists, match="already exists"):
        await world.deploy(host, config)


async def test_host_config_and_parameters_must_be_right(world: Any) -> None:
    host = await world.host()
    config = await world.config(parameters=[Declared(key="n", type="int", required=True)])

    with pytest.raises(Invalid, match=r"parameters\.n"):
        await world.deploy(host, config)
    with pytest.raises(Invalid, match=r"port_bindings\[0\]\.container_port"):
        await world.deploy(host, config, tcp(container_port=0), values={"n": "1"})
    config.config_id = 99
    with pytest.raises(NotFound, match="game config 99"):
        await world.deploy(host, config)
    host.server_id = 99
    with pytest.raises(NotFound, match="server 99"):
        await world.deploy(host, config)


async def test_ten_deployments_racing_for_one_port_leave_one(world: Any) -> None:
    host = await world.host()
    configs = [await world.config() for _ in range(10)]

    results = await asyncio.gather(
        *(world.deploy(host, config, tcp(25565)) for config in configs), return_exceptions=True
    )

    won = [result for result in results if not isinstance(result, BaseException)]
    assert len(won) == 1
    lost = [result for result in results if isinstance(result, Exhausted)]
    assert len(lost) == 9
    assert all(f"deployment {won[0].sgc_id}" in str(error) for error in lost)


async def test_racing_automatic_ports_are_all_different(world: Any) -> None:
    host = await world.host()
    configs = [await world.config() for _ in range(3)]

    rows = await asyncio.gather(*(world.deploy(host, config, tcp()) for config in configs))

    assert sorted(port for row in rows for port in ports_of(row)) == [27000, 27001, 27002]


async def test_undeploying_frees_the_ports_and_may_be_repeated(world: Any) -> None:
    host = await world.host()
    row = await world.deploy(host, await world.config(), tcp(25565))

    for _ in range(2):
        await deployments.undeploy(deployment_id=row.sgc_id, uow=world.uow)

    assert ports_of(await world.deploy(host, await world.config(), tcp(25565))) == [25565]


async def test_undeploying_with_a_live_session_is_refused(world: Any) -> None:
    row = await world.deployment()
    run = await start(world, row)

    with pytest.raises(Conflict, match=rf"live session {run.session_id} \(pending\)"):
        await deployments.undeploy(deployment_id=row.sgc_id, uow=world.uow)


async def test_an_update_exchanges_ports_in_one_step(world: Any) -> None:
    host = await world.host()
    row = await world.deploy(host, await world.config(), tcp(1111), tcp(2222))
    other = await world.deploy(host, await world.config(), tcp(3333))

    with pytest.raises(Exhausted, match=f"deployment {other.sgc_id}"):
        await update(world, row, port_bindings=[tcp(2222), tcp(3333)])
    assert ports_of((await deployments.get_deployment(deployment_id=row.sgc_id, uow=world.uow)).row) == [1111, 2222]

    assert ports_of(await update(world, row, port_bindings=[tcp(2222), tcp(4444)])) == [2222, 4444]
    assert ports_of(await update(world, other, port_bindings=[tcp(1111)])) == [1111]


async def test_an_automatic_port_stays_where_it_is(world: Any) -> None:
    host = await world.host()
    first = await world.deploy(host, await world.config(), tcp())
    row = await world.deploy(host, await world.config(), tcp())
    await deployments.undeploy(deployment_id=first.sgc_id, uow=world.uow)

    assert ports_of(await update(world, row, port_bindings=[tcp(), tcp(container_port=5)])) == [27001, 27000]


async def test_a_port_in_use_by_a_session_is_not_given_up(world: Any) -> None:
    row = await world.deploy(await world.host(), await world.config(), tcp(1111))
    await start(world, row)

    with pytest.raises(Conflict, match="port 1111/TCP is in use by session"):
        await update(world, row, port_bindings=[tcp(2222)])

    assert ports_of(await update(world, row, port_bindings=[tcp(1111), tcp(2222)])) == [1111, 2222]


async def test_a_mask_clears_ports_and_parameters(world: Any) -> None:
    row = await world.deploy(await world.host(), await world.config(), tcp(1111), values={"a": "1"})
    assert (await update(world, row, status="active")).parameters == {"a": "1"}

    cleared = await update(world, row, paths=["port_bindings", "parameters"])

    assert (cleared.port_bindings, cleared.parameters, cleared.status) == ([], {}, "active")


async def test_new_parameters_are_checked(world: Any) -> None:
    row = await world.deployment(parameters=[Declared(key="n", type="int")])

    with pytest.raises(Invalid, match=r"parameters\.n"):
        await update(world, row, parameters={"n": "x"})
    assert (await update(world, row, parameters={"n": "5", "b": "2", "a": "1"})).parameters == {
        "n": "5",
        "b": "2",
        "a": "1",
    }


async def test_validation_tells_everything_and_writes_nothing(world: Any) -> None:
    host = await world.host()
    await world.deploy(host, await world.config(name="Survival"), tcp(25565))
    config = await world.config(parameters=[Declared(key="n", type="int", required=True)])

    async def review(*ports: WantedPort, **other: Any) -> Any:
        told = {"server_id": host.server_id, "game_config_id": config.config_id, **other}
        ids = {"server_id": told.pop("server_id"), "game_config_id": told.pop("game_config_id")}
        values = world.deployment_values(port_bindings=list(ports), **told)
        return await validate_deployment(values=values, uow=world.uow, **ids)

    found = await review(tcp(25565), tcp(container_port=0))
    assert [(issue.severity, issue.field) for issue in found.issues] == [
        (Severity.ERROR, "port_bindings[1].container_port"),
        (Severity.ERROR, "port_bindings[0].host_port"),
        (Severity.ERROR, "parameters.n"),
    ]
    assert (await review(tcp(1), parameters={"n": "1"})).valid
    assert [issue.field for issue in (await review(server_id=99)).issues] == ["server_id"]
    assert [issue.field for issue in (await review(game_config_id=99)).issues] == ["game_config_id"]
    rows, _ = await deployments.list_deployments(server_id=0, page=Page(), uow=world.uow)
    assert len(rows) == 1


async def test_validation_warns_of_what_the_host_would_ignore(world: Any) -> None:
    config = await world.config(entrypoint=["/start"])

    async def warnings(**told: Any) -> list[str]:
        host = await world.host(**told)
        found = await validate_deployment(
            server_id=host.server_id,
            game_config_id=config.config_id,
            values=world.deployment_values(),
            uow=world.uow,
        )
        assert found.valid
        return [issue.field for issue in found.issues]

    assert await warnings() == ["entrypoint"]
    assert await warnings(features=["entrypoint"]) == []
