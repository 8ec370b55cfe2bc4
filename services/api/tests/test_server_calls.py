"""Servers over gRPC and REST: what an operator wants of them, and what their hosts said."""

from typing import Any

import grpc
import httpx2
import pytest

from manman.v1 import game_configs_pb2, games_pb2, server_game_configs_pb2, sessions_pb2
from manman.v1 import servers_pb2 as pb
from manman.v1.values_pb2 import PortBinding

Code = grpc.StatusCode


async def register(api: Any, name: str = "h", **more: Any) -> Any:
    return (await api.control.RegisterServer(pb.RegisterServerRequest(name=name, **more))).server


async def update(api: Any, server: Any, **more: Any) -> Any:
    return (await api.control.UpdateServer(pb.UpdateServerRequest(server_id=server.server_id, **more))).server


async def deploy(api: Any, server: Any, name: str = "c") -> Any:
    game = (await api.control.CreateGame(games_pb2.CreateGameRequest(name=name))).game
    create = game_configs_pb2.CreateGameConfigRequest(game_id=game.game_id, name=name, image="game:1")
    config = (await api.control.CreateGameConfig(create)).config
    request = server_game_configs_pb2.DeployGameConfigRequest(
        server_id=server.server_id,
        game_config_id=config.config_id,
        port_bindings=[PortBinding(container_port=7777)],
    )
    return (await api.control.DeployGameConfig(request)).config


def start(api: Any, deployment: Any) -> Any:
    request = sessions_pb2.StartSessionRequest(server_game_config_id=deployment.server_game_config_id)
    return api.control.StartSession(request)


async def test_a_draining_server_starts_nothing_and_ends_nothing(api: Any) -> None:
    server = await register(api)
    running, other = await deploy(api, server), await deploy(api, server, "d")
    session = (await start(api, running)).session
    drain = pb.DrainServerRequest(server_id=server.server_id)

    for _ in range(2):
        assert (await api.control.DrainServer(drain)).server.draining

    code, text = await api.refusal(start(api, other))
    assert (code, "is draining" in text, "undrain it" in text) == (Code.FAILED_PRECONDITION, True, True)
    request = sessions_pb2.GetSessionRequest(session_id=session.session_id)
    assert (await api.control.GetSession(request)).session.status == "pending"
    review = server_game_configs_pb2.ValidateDeploymentRequest(
        server_id=server.server_id, game_config_id=other.game_config_id
    )
    issues = (await api.control.ValidateDeployment(review)).issues
    assert [issue.field for issue in issues] == ["server_id"]

    undrain = pb.UndrainServerRequest(server_id=server.server_id)
    assert not (await api.control.UndrainServer(undrain)).server.draining
    assert (await start(api, other)).session.status == "pending"


async def test_registering_again_does_not_end_a_drain(api: Any) -> None:
    server = await register(api)
    await api.control.DrainServer(pb.DrainServerRequest(server_id=server.server_id))

    assert (await register(api)).draining


async def test_a_host_that_is_about_to_go_away_starts_nothing(api: Any, uow: Any) -> None:
    server = await register(api)
    deployment = await deploy(api, server)
    async with uow() as tx:
        (await tx.servers.lock(server.server_id)).host_draining = True
        await tx.commit()

    code, text = await api.refusal(start(api, deployment))

    assert (code, "about to go away" in text) == (Code.FAILED_PRECONDITION, True)
    found = (await api.control.GetServer(pb.GetServerRequest(server_id=server.server_id))).server
    assert (found.draining, found.host_draining) == (False, True)


async def test_the_address_that_an_operator_sets_wins_until_it_is_cleared(api: Any) -> None:
    server = await register(api, public_address="10.0.0.1")
    assert (server.public_address, server.announced_address) == ("10.0.0.1", "10.0.0.1")

    changed = await update(api, server, public_address="play.example.org")
    assert (changed.public_address, changed.announced_address) == ("play.example.org", "10.0.0.1")
    assert (await register(api, public_address="10.0.0.2")).public_address == "play.example.org"
    assert (await update(api, server, name="other")).public_address == "play.example.org"
    await update(api, server, name="h")

    cleared = await update(api, server, update_paths=["public_address"])
    assert (cleared.public_address, cleared.announced_address) == ("10.0.0.2", "10.0.0.2")
    assert (await register(api)).public_address == "10.0.0.2"


async def test_the_ranges_that_an_operator_sets_win_over_those_that_the_host_announced(api: Any) -> None:
    offer = pb.ServerCapabilities(available_ports=[pb.PortRange(start=40000, end=40010)])
    server = await register(api, capabilities=offer)

    async def given(name: str) -> int:
        return (await deploy(api, server, name)).port_bindings[0].host_port

    assert await given("announced") == 40000
    changed = await update(api, server, port_ranges=[pb.PortRange(start=50000, end=50010, protocol="tcp")])
    assert [(span.start, span.end, span.protocol) for span in changed.port_ranges] == [(50000, 50010, "TCP")]
    assert await given("operator") == 50000
    assert list((await update(api, server, update_paths=["port_ranges"])).port_ranges) == []
    assert await given("announced again") == 40001


async def test_the_default_is_swapped_by_its_mask_alone(api: Any) -> None:
    first, second = await register(api, "a"), await register(api, "b")
    assert (first.is_default, second.is_default) == (True, False)

    changed = await update(api, second, name="other", is_default=True, update_paths=["is_default"])

    assert (changed.name, changed.is_default) == ("b", True)
    listed = (await api.control.ListServers(pb.ListServersRequest())).servers
    assert [server.is_default for server in listed] == [False, True]
    off = pb.UpdateServerRequest(server_id=second.server_id, update_paths=["is_default"])
    assert (await api.refusal(api.control.UpdateServer(off)))[0] is Code.FAILED_PRECONDITION


async def test_what_a_host_said_is_listed_newest_first_and_no_longer_than_asked(api: Any) -> None:
    server = await register(api)
    for memory_mb in (1, 2, 3):
        beat = pb.HeartbeatRequest(
            server_id=server.server_id, capabilities=pb.ServerCapabilities(available_memory_mb=memory_mb)
        )
        await api.control.Heartbeat(beat)

    async def listed(limit: int) -> list[Any]:
        request = pb.ListServerCapabilitiesRequest(server_id=server.server_id, limit=limit)
        return list((await api.control.ListServerCapabilities(request)).capabilities)

    assert [each.available_memory_mb for each in await listed(0)] == [3, 2, 1]
    assert [each.available_memory_mb for each in await listed(2)] == [3, 2]
    assert all(each.recorded_at > 0 for each in await listed(0))


@pytest.mark.parametrize("rpc", ["DrainServer", "UndrainServer", "ListServerCapabilities"])
async def test_the_unknown_is_not_found_and_nothing_is_invalid(api: Any, rpc: str) -> None:
    request = getattr(pb, f"{rpc}Request")
    call = getattr(api.control, rpc)

    assert (await api.refusal(call(request(server_id=99))))[0] is Code.NOT_FOUND
    assert (await api.refusal(call(request())))[0] is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"public_address": "http://play"}, "public_address"),
        ({"public_address": "x" * 256}, "public_address"),
        ({"port_ranges": [pb.PortRange(start=2, end=1)]}, "port_ranges[0]"),
        ({"port_ranges": [pb.PortRange(start=1, end=2, protocol="sctp")]}, "port_ranges[0].protocol"),
        ({"port_ranges": [pb.PortRange(start=1, end=2)] * 101}, "port_ranges"),
        ({"update_paths": ["draining"]}, "update_paths"),
    ],
)
async def test_what_a_server_cannot_have_is_refused(api: Any, wrong: dict[str, Any], field: str) -> None:
    server = await register(api)

    code, text = await api.refusal(
        api.control.UpdateServer(pb.UpdateServerRequest(server_id=server.server_id, **wrong))
    )

    assert (code, field in text) == (Code.INVALID_ARGUMENT, True), text


async def test_the_calls_are_there_over_rest(api: Any) -> None:
    server = await register(api, capabilities=pb.ServerCapabilities(cpu_cores=4))
    base = f"http://127.0.0.1:{api.addresses.rest}/v1/servers/{server.server_id}"
    async with httpx2.AsyncClient() as client:
        drained = await client.post(f"{base}:drain", json={})
        undrained = await client.post(f"{base}:undrain", json={})
        said = await client.get(f"{base}/capabilities?limit=1")

    assert drained.json()["server"]["draining"] is True
    assert undrained.json()["server"]["draining"] is False
    assert said.json()["capabilities"][0]["cpu_cores"] == 4
