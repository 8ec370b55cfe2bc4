"""Calls over gRPC: what they answer, and with which code they refuse."""

import asyncio
from typing import Any

import grpc

from manman.bus import topology
from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.bus.subscription import subscribe
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages.codec import decode, encode
from manman.messages.commands import Reply, SendInput
from manman.settings import BusSettings
from manman.v1 import (
    game_configs_pb2,
    games_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    values_pb2,
    volumes_pb2,
)
from manman_devstack.eventually import eventually

Code = grpc.StatusCode


async def world(api: Any) -> Any:
    """Make a host, a game, a config and a deployment with an automatic port."""
    server = (
        await api.control.RegisterServer(servers_pb2.RegisterServerRequest(name="h", features=["config_files"]))
    ).server
    game = (await api.control.CreateGame(games_pb2.CreateGameRequest(name="g", metadata={"genre": "fps"}))).game
    parameter = values_pb2.Parameter(key="n", type="int", default_value="1", max_value=9)
    config = (
        await api.control.CreateGameConfig(
            game_configs_pb2.CreateGameConfigRequest(
                game_id=game.game_id,
                name="c",
                image="game:1",
                files=[values_pb2.FileTemplate(path="/a", content="x")],
                parameters=[parameter],
                resources=values_pb2.ResourceLimits(memory_mb=512),
                isolation=values_pb2.Isolation(extra_capabilities=["NET_RAW"], init=True),
            )
        )
    ).config
    return (
        await api.control.DeployGameConfig(
            server_game_configs_pb2.DeployGameConfigRequest(
                server_id=server.server_id,
                game_config_id=config.config_id,
                port_bindings=[values_pb2.PortBinding(container_port=7777, protocol="udp")],
                parameters={"n": "5"},
            )
        )
    ).config


async def start(api: Any, deployment: Any, **more: Any) -> Any:
    request = sessions_pb2.StartSessionRequest(server_game_config_id=deployment.server_game_config_id, **more)
    return (await api.control.StartSession(request)).session


async def test_what_was_told_comes_back(api: Any) -> None:
    deployment = await world(api)
    request = game_configs_pb2.GetGameConfigRequest(config_id=deployment.game_config_id)

    config = (await api.control.GetGameConfig(request)).config

    assert (config.name, config.image, config.resources.memory_mb) == ("c", "game:1", 512)
    assert (config.isolation.extra_capabilities, config.isolation.init) == (["NET_RAW"], True)
    assert [(file.path, file.mode) for file in config.files] == [("/a", "0644")]
    assert [(p.key, p.type, p.max_value, p.HasField("min_value")) for p in config.parameters] == [
        ("n", "int", 9, False)
    ]
    assert [(p.host_port, p.protocol) for p in deployment.port_bindings] == [(27000, "UDP")]
    assert (dict(deployment.parameters), deployment.status) == ({"n": "5"}, "inactive")
    game = (await api.control.GetGame(games_pb2.GetGameRequest(game_id=config.game_id))).game
    assert (game.metadata.genre, list(game.metadata.tags)) == ("fps", [])


async def test_a_session_tells_what_a_client_needs(api: Any) -> None:
    deployment = await world(api)

    session = await start(api, deployment, parameters={"n": "7"})

    assert (session.status, session.server_id, dict(session.parameters)) == (
        "pending",
        deployment.server_id,
        {"n": "7"},
    )
    assert session.created_at > 0
    assert (session.started_at, session.ended_at, session.exit_code) == (0, 0, 0)
    listed = await api.control.ListSessions(sessions_pb2.ListSessionsRequest(live_only=True))
    assert [row.session_id for row in listed.sessions] == [session.session_id]


async def test_refusals_have_the_codes_that_clients_know(api: Any) -> None:
    deployment = await world(api)
    await start(api, deployment)
    control = api.control
    again = sessions_pb2.StartSessionRequest(server_game_config_id=deployment.server_game_config_id)
    twice = server_game_configs_pb2.DeployGameConfigRequest(
        server_id=deployment.server_id, game_config_id=deployment.game_config_id
    )
    config = game_configs_pb2.CreateGameConfigRequest(game_id=1, name="other", image="x")
    other = (await control.CreateGameConfig(config)).config
    held = server_game_configs_pb2.DeployGameConfigRequest(
        server_id=deployment.server_id, game_config_id=other.config_id, port_bindings=deployment.port_bindings
    )
    missing_image = game_configs_pb2.CreateGameConfigRequest(game_id=1, name="x")
    bad_status = sessions_pb2.ListSessionsRequest(status_filter=["exploded"])
    bad_port = server_game_configs_pb2.DeployGameConfigRequest(
        server_id=1, game_config_id=1, port_bindings=[values_pb2.PortBinding(container_port=70000)]
    )
    bad_mask = games_pb2.UpdateGameRequest(game_id=1, update_paths=["nmae"])
    refused = [
        (control.StartSession(again), Code.FAILED_PRECONDITION, "start with force"),
        (control.DeployGameConfig(twice), Code.ALREADY_EXISTS, "already exists"),
        (control.DeployGameConfig(held), Code.RESOURCE_EXHAUSTED, "27000/UDP is held by deployment"),
        (control.CreateGame(games_pb2.CreateGameRequest(name="g")), Code.ALREADY_EXISTS, "already exists"),
        (control.CreateGame(games_pb2.CreateGameRequest()), Code.INVALID_ARGUMENT, "name"),
        (control.CreateGameConfig(missing_image), Code.INVALID_ARGUMENT, "image"),
        (control.ListSessions(bad_status), Code.INVALID_ARGUMENT, "status_filter"),
        (control.DeployGameConfig(bad_port), Code.INVALID_ARGUMENT, "port_bindings[0].container_port"),
        (control.UpdateGame(bad_mask), Code.INVALID_ARGUMENT, "update_paths"),
        (control.ListGames(games_pb2.ListGamesRequest(page_token="%")), Code.INVALID_ARGUMENT, "page_token"),
        (control.GetGame(games_pb2.GetGameRequest(game_id=99)), Code.NOT_FOUND, "game 99"),
        (control.DeleteGame(games_pb2.DeleteGameRequest(game_id=1)), Code.FAILED_PRECONDITION, "stop them first"),
    ]

    for call, code, words in refused:
        found, text = await api.refusal(call)
        assert (found, words in text) == (code, True), text


async def test_deleting_the_unknown_is_fine(api: Any) -> None:
    await api.control.DeleteServer(servers_pb2.DeleteServerRequest(server_id=99))
    await api.control.DeleteGame(games_pb2.DeleteGameRequest(game_id=99))
    await api.control.DeleteGameConfig(game_configs_pb2.DeleteGameConfigRequest(config_id=99))
    await api.control.DeleteGameConfigVolume(volumes_pb2.DeleteGameConfigVolumeRequest(volume_id=99))
    request = server_game_configs_pb2.DeleteServerGameConfigRequest(server_game_config_id=99)
    await api.control.DeleteServerGameConfig(request)


async def test_lists_come_in_pages(api: Any) -> None:
    for number in range(3):
        await api.control.CreateServer(servers_pb2.CreateServerRequest(name=f"h{number}"))

    first = await api.control.ListServers(servers_pb2.ListServersRequest(page_size=2))
    request = servers_pb2.ListServersRequest(page_size=2, page_token=first.next_page_token)
    second = await api.control.ListServers(request)

    assert [server.name for server in first.servers] == ["h0", "h1"]
    assert ([server.name for server in second.servers], second.next_page_token) == (["h2"], "")
    assert [server.is_default for server in first.servers] == [True, False]


async def test_the_mask_of_the_first_clients_is_understood(api: Any) -> None:
    await api.control.CreateServer(servers_pb2.CreateServerRequest(name="a"))
    plain = servers_pb2.UpdateServerRequest(server_id=1, name="b", status="online").SerializeToString()
    mask_in_field_4 = bytes([4 << 3 | 2, 4]) + b"name"
    update = api.channel.unary_unary(
        "/manman.v1.ManManAPI/UpdateServer", response_deserializer=servers_pb2.UpdateServerResponse.FromString
    )

    server = (await update(plain + mask_in_field_4)).server

    assert (server.name, server.status) == ("b", "offline")


async def test_validation_is_an_answer_not_an_error(api: Any) -> None:
    deployment = await world(api)
    request = server_game_configs_pb2.ValidateDeploymentRequest(
        server_id=deployment.server_id,
        game_config_id=deployment.game_config_id,
        port_bindings=[*deployment.port_bindings, values_pb2.PortBinding(container_port=0)],
        parameters={"n": "10"},
    )

    answer = await api.control.ValidateDeployment(request)

    assert not answer.valid
    assert {issue.field for issue in answer.issues} == {
        "port_bindings[0].host_port",
        "port_bindings[1].container_port",
        "parameters.n",
    }
    assert answer.estimate.estimated_memory_mb == 512


async def running(api: Any, uow: Any) -> Any:
    session = await start(api, await world(api))
    async with uow() as tx:
        row = await tx.sessions.lock(session.session_id)
        await transitions.apply(tx, row, Change(status=Status.RUNNING), now=row.created_at)
        await tx.commit()
    return session


async def test_input_reaches_the_host_in_order_and_its_word_comes_back(api: Any, uow: Any, amqp_url: str) -> None:
    session = await running(api, uow)
    heard: list[bytes] = []
    async with connect(BusSettings(rabbitmq_url=amqp_url), "host") as broker, Publisher(broker) as publisher:
        queue = topology.host_command_queue(session.server_id)
        async with subscribe(broker, queue, prefetch=1) as commands:

            async def answer() -> None:
                while (message := await commands.next()) is not None:
                    heard.append(decode(SendInput, message.body).input)
                    ok = heard[-1] != b"bad\n"
                    reply = Reply(correlation_id=message.correlation_id, success=ok, error="" if ok else "no stdin")
                    await publisher.publish("", message.reply_to, encode(reply), message_id="r", persistent=False)
                    await commands.acknowledge(message)

            async with asyncio.TaskGroup() as group:
                host = group.create_task(answer())
                for text in (b"one\n", b"two\n"):
                    request = sessions_pb2.SendInputRequest(session_id=session.session_id, input=text)
                    assert (await api.control.SendInput(request)).success
                request = sessions_pb2.SendInputRequest(session_id=session.session_id, input=b"bad\n")
                code, text = await api.refusal(api.control.SendInput(request))
                host.cancel()

    assert heard == [b"one\n", b"two\n", b"bad\n"]
    assert (code, "no stdin" in text) == (Code.FAILED_PRECONDITION, True)


async def test_input_to_a_host_that_is_away_or_silent_is_not_a_success(api: Any, uow: Any, amqp_url: str) -> None:
    session = await running(api, uow)
    request = sessions_pb2.SendInputRequest(session_id=session.session_id, input=b"x")

    async def without_queue() -> bool:
        return (await api.refusal(api.control.SendInput(request)))[0] is Code.UNAVAILABLE

    await eventually(without_queue, timeout_s=10)
    async with connect(BusSettings(rabbitmq_url=amqp_url), "host") as broker:
        await topology.declare_host_command_queue(broker, session.server_id)
        assert (await api.refusal(api.control.SendInput(request)))[0] is Code.DEADLINE_EXCEEDED


async def test_input_to_a_session_that_does_not_run_is_refused(api: Any) -> None:
    session = await start(api, await world(api))
    request = sessions_pb2.SendInputRequest(session_id=session.session_id, input=b"x")

    assert (await api.refusal(api.control.SendInput(request)))[0] is Code.FAILED_PRECONDITION


async def test_twenty_starts_at_once_over_grpc_leave_one(api: Any) -> None:
    deployment = await world(api)

    results = await asyncio.gather(*(start(api, deployment) for _ in range(20)), return_exceptions=True)

    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {Code.FAILED_PRECONDITION}
    assert len(refused) == 19


async def test_a_stop_is_accepted_and_told_by_the_status(api: Any) -> None:
    session = await start(api, await world(api))

    stopped = (await api.control.StopSession(sessions_pb2.StopSessionRequest(session_id=session.session_id))).session

    assert (stopped.status, stopped.stop_requested_at > 0) == ("stopping", True)
