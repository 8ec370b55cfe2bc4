"""Deployments over gRPC and REST: what they say differently from their config, several at once, their environment."""

import asyncio
from typing import Any

import grpc
import httpx2
import pytest

from manman.messages.codec import decode
from manman.messages.commands import StartSession
from manman.v1 import configuration_pb2, game_configs_pb2, games_pb2, servers_pb2, sessions_pb2
from manman.v1 import server_game_configs_pb2 as pb
from manman.v1.values_pb2 import Parameter, PortBinding, ResourceLimits, RestartPolicy

Code = grpc.StatusCode


class World:
    """A game and a host that is there."""

    def __init__(self, api: Any, game_id: int, server_id: int) -> None:
        self.api = api
        self.game_id = game_id
        self.server_id = server_id
        self.made = 0

    async def config(self, **more: Any) -> Any:
        self.made += 1
        values = {"game_id": self.game_id, "name": f"c{self.made}", "image": "game:1", **more}
        return (await self.api.control.CreateGameConfig(game_configs_pb2.CreateGameConfigRequest(**values))).config

    async def deployment(self, config: Any = None, **more: Any) -> Any:
        config = config or await self.config()
        place = {"server_id": self.server_id, "game_config_id": config.config_id}
        return (await self.api.control.DeployGameConfig(pb.DeployGameConfigRequest(**place, **more))).config

    def update(self, deployment: Any, **more: Any) -> Any:
        return self.api.control.UpdateServerGameConfig(asked(deployment, **more))

    def batch(self, *requests: Any) -> Any:
        return self.api.control.BatchUpdateServerGameConfigs(pb.BatchUpdateServerGameConfigsRequest(requests=requests))

    def start(self, deployment: Any, **parameters: str) -> Any:
        request = sessions_pb2.StartSessionRequest(
            server_game_config_id=deployment.server_game_config_id, parameters=parameters
        )
        return self.api.control.StartSession(request)

    async def get(self, deployment: Any) -> Any:
        request = pb.GetServerGameConfigRequest(server_game_config_id=deployment.server_game_config_id)
        return (await self.api.control.GetServerGameConfig(request)).config

    async def env(self, deployment: Any) -> list[Any]:
        request = pb.GetEffectiveEnvRequest(server_game_config_id=deployment.server_game_config_id)
        return list((await self.api.control.GetEffectiveEnv(request)).variables)


def asked(deployment: Any, **more: Any) -> Any:
    return pb.UpdateServerGameConfigRequest(server_game_config_id=deployment.server_game_config_id, **more)


def port(host_port: int, container_port: int = 7777, name: str = "") -> Any:
    return PortBinding(container_port=container_port, host_port=host_port, name=name)


def ports_of(deployment: Any) -> list[int]:
    return [binding.host_port for binding in deployment.port_bindings]


@pytest.fixture
async def world(api: Any) -> World:
    server = (await api.control.RegisterServer(servers_pb2.RegisterServerRequest(name="h"))).server
    game = (await api.control.CreateGame(games_pb2.CreateGameRequest(name="g"))).game
    return World(api, game.game_id, server.server_id)


OVERRIDES: dict[str, Any] = {
    "env_overrides": {"MODE": "hard", "SIZE": "{{n}}"},
    "resources": ResourceLimits(memory_mb=2048),
    "stop_command": "save {{n}}",
    "stop_timeout_seconds": 45,
    "stop_signal": "SIGINT",
    "restart_policy": RestartPolicy(policy="on_crash", max_attempts=3, window_seconds=600, backoff_seconds=5),
}


def overrides_of(deployment: Any) -> dict[str, Any]:
    found = {name: getattr(deployment, name) for name in OVERRIDES}
    return {**found, "env_overrides": dict(deployment.env_overrides)}


async def test_what_a_deployment_says_differently_comes_back_and_is_changed_by_its_mask(world: World) -> None:
    deployment = await world.deployment(port_bindings=[port(5000, name="game")], **OVERRIDES)
    assert overrides_of(deployment) == OVERRIDES
    assert overrides_of(await world.get(deployment)) == OVERRIDES

    untouched = (await world.update(deployment, stop_signal="SIGTERM")).config
    assert overrides_of(untouched) == {**OVERRIDES, "stop_signal": "SIGTERM"}

    paths = ["env_overrides", "resources", "stop_command", "restart_policy"]
    cleared = (await world.update(deployment, stop_timeout_seconds=9, update_paths=paths)).config

    assert overrides_of(cleared) == {
        **OVERRIDES,
        "env_overrides": {},
        "resources": ResourceLimits(),
        "stop_command": "",
        "restart_policy": RestartPolicy(),
        "stop_signal": "SIGTERM",
    }
    code, text = await world.api.refusal(world.update(deployment, update_paths=["env"]))
    assert (code, "env_overrides" in text) == (Code.INVALID_ARGUMENT, True)


async def test_a_config_keeps_what_hosts_do_not_act_on_yet(world: World) -> None:
    policy = RestartPolicy(policy="always", backoff_seconds=2)
    config = await world.config(ready_pattern="Done \\(\\d+s\\)", restart_policy=policy)
    assert (config.ready_pattern, config.restart_policy) == ("Done \\(\\d+s\\)", policy)

    request = game_configs_pb2.UpdateGameConfigRequest(
        config_id=config.config_id, update_paths=["ready_pattern", "restart_policy"]
    )
    cleared = (await world.api.control.UpdateGameConfig(request)).config

    assert (cleared.ready_pattern, cleared.restart_policy) == ("", RestartPolicy())
    bad = game_configs_pb2.UpdateGameConfigRequest(config_id=config.config_id, ready_pattern="(?=x)")
    code, text = await world.api.refusal(world.api.control.UpdateGameConfig(bad))
    assert (code, "ready_pattern: is no RE2 expression" in text) == (Code.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"env_overrides": {"A=B": ""}}, "env_overrides"),
        ({"resources": ResourceLimits(memory_mb=-1)}, "resources.memory_mb"),
        ({"stop_command": "x" * 1001}, "stop_command"),
        ({"stop_timeout_seconds": 3601}, "stop_timeout_seconds"),
        ({"stop_signal": "quit"}, "stop_signal"),
        ({"restart_policy": RestartPolicy(policy="maybe")}, "restart_policy.policy"),
        ({"restart_policy": RestartPolicy(max_attempts=3)}, "restart_policy.policy"),
        ({"port_bindings": [port(0, name="Game")]}, "port_bindings[0].name"),
        ({"port_bindings": [port(0, name="a"), port(0, 2, name="a")]}, "port_bindings[1].name"),
    ],
)
async def test_what_cannot_be_is_refused_and_foretold_by_the_validation(
    world: World, wrong: dict[str, Any], field: str
) -> None:
    config = await world.config()
    deployment = await world.deployment()
    place = {"server_id": world.server_id, "game_config_id": config.config_id}
    deploy = world.api.control.DeployGameConfig(pb.DeployGameConfigRequest(**place, **wrong))

    for call in (deploy, world.update(deployment, **wrong)):
        code, text = await world.api.refusal(call)
        assert (code, field in text) == (Code.INVALID_ARGUMENT, True), text
    answer = await world.api.control.ValidateDeployment(pb.ValidateDeploymentRequest(**place, **wrong))
    assert not answer.valid
    assert any(issue.field.startswith(field) for issue in answer.issues)


async def test_the_validation_estimates_by_the_deployments_own_limits(world: World) -> None:
    config = await world.config(resources=ResourceLimits(memory_mb=512, cpu_millicores=100))
    request = pb.ValidateDeploymentRequest(
        server_id=world.server_id, game_config_id=config.config_id, resources=ResourceLimits(memory_mb=4096)
    )

    estimate = (await world.api.control.ValidateDeployment(request)).estimate

    assert (estimate.estimated_memory_mb, estimate.estimated_cpu_millicores) == (4096, 100)


async def test_a_start_sends_what_the_deployment_says_and_else_what_the_config_says(world: World, uow: Any) -> None:
    config = await world.config(
        env_template={"MODE": "easy", "TZ": "UTC"},
        parameters=[Parameter(key="n", default_value="7")],
        resources=ResourceLimits(memory_mb=512, cpu_millicores=250, pids=99),
        stop_command="quit",
        stop_timeout_seconds=20,
    )
    deployment = await world.deployment(config, port_bindings=[port(5000, name="game")], **OVERRIDES)

    await world.start(deployment, n="9")

    async with uow() as tx:
        rows = await tx.outbox.unpublished(limit=100)
        (row,) = [row for row in rows if row.routing_key.endswith("session.start")]
        command = decode(StartSession, row.body)
    assert command.game_config.env_template == {"MODE": "hard", "TZ": "UTC", "SIZE": "9"}
    limits = command.resources
    assert (limits.memory_mb, limits.cpu_millicores, limits.pids) == (2048, 250, 99)
    assert (command.stop_command, command.stop_timeout_seconds, command.stop_signal) == ("save 9", 45, "SIGINT")
    for later in (b"restart", b"ready_pattern", b'"name":"game"'):
        assert later not in row.body


async def test_the_environment_shows_each_level_and_no_secret(world: World) -> None:
    config = await world.config(
        env_template={"MODE": "easy", "TZ": "UTC", "URL": "db://{{pw}}@host", "API_TOKEN": "abc", "N": "{{n}}"},
        parameters=[Parameter(key="pw", type="secret", value="swordfish"), Parameter(key="n", default_value="7")],
    )
    strategy = configuration_pb2.CreateConfigurationStrategyRequest(
        game_id=world.game_id, name="env", strategy_type="env_vars", base_template="SEED=1\nMODE=expert"
    )
    await world.api.control.CreateConfigurationStrategy(strategy)
    deployment = await world.deployment(config, env_overrides={"MODE": "hard", "TZ": "CET"}, parameters={"n": "8"})

    found = await world.env(deployment)

    assert [(each.name, each.value, each.masked, each.source) for each in found] == [
        ("API_TOKEN", "***", True, "game_config"),
        ("MODE", "expert", False, "configuration_strategy"),
        ("N", "8", False, "game_config"),
        ("SEED", "1", False, "configuration_strategy"),
        ("TZ", "CET", False, "server_game_config"),
        ("URL", "***", True, "game_config"),
    ]


async def test_an_environment_that_cannot_be_told_is_refused_with_the_reason(world: World) -> None:
    missing = pb.GetEffectiveEnvRequest(server_game_config_id=99)
    assert (await world.api.refusal(world.api.control.GetEffectiveEnv(missing)))[0] is Code.NOT_FOUND
    config = await world.config()
    deployment = await world.deployment(config)
    needed = game_configs_pb2.UpdateGameConfigRequest(
        config_id=config.config_id, parameters=[Parameter(key="n", type="int", required=True)]
    )
    await world.api.control.UpdateGameConfig(needed)

    code, text = await world.api.refusal(
        world.api.control.GetEffectiveEnv(
            pb.GetEffectiveEnvRequest(server_game_config_id=deployment.server_game_config_id)
        )
    )

    assert (code, "parameters.n" in text) == (Code.FAILED_PRECONDITION, True)


async def test_updates_racing_for_one_port_leave_it_to_one_and_the_others_keep_theirs(world: World) -> None:
    deployments = [await world.deployment(port_bindings=[port(5000 + number)]) for number in range(8)]

    results = await asyncio.gather(
        *(world.update(each, port_bindings=[port(25565)]) for each in deployments), return_exceptions=True
    )

    lost = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert {error.code() for error in lost} == {Code.RESOURCE_EXHAUSTED}
    now = [ports_of(await world.get(each))[0] for each in deployments]
    assert (now.count(25565), len(lost), len(set(now))) == (1, 7, 8)


async def test_a_name_stays_with_its_port_over_updates(world: World) -> None:
    deployment = await world.deployment(port_bindings=[port(5000, 1, "game"), port(5001, 2, "query")])

    same = (await world.update(deployment, port_bindings=[port(0, 2), port(6000, 1)])).config
    moved = (await world.update(deployment, port_bindings=[port(0, 9, "game")])).config

    assert [(each.host_port, each.name) for each in same.port_bindings] == [(5001, "query"), (6000, "game")]
    assert [(each.container_port, each.host_port, each.name) for each in moved.port_bindings] == [(9, 6000, "game")]


async def test_a_batch_changes_all_and_lets_two_exchange_their_ports(world: World) -> None:
    one = await world.deployment(port_bindings=[port(5000)])
    two = await world.deployment(port_bindings=[port(5001)])

    answer = await world.batch(
        asked(two, port_bindings=[port(5000)]), asked(one, port_bindings=[port(5001)], stop_command="bye")
    )

    assert [(each.server_game_config_id, ports_of(each)) for each in answer.configs] == [
        (two.server_game_config_id, [5000]),
        (one.server_game_config_id, [5001]),
    ]
    assert (await world.get(one)).stop_command == "bye"


async def test_a_batch_with_one_wrong_part_changes_nothing_and_names_the_part(world: World) -> None:
    one, two = await world.deployment(port_bindings=[port(5000)]), await world.deployment()
    held = await world.deployment(port_bindings=[port(6000)])
    await world.start(one)
    good = asked(two, stop_command="bye")
    ghost = pb.UpdateServerGameConfigRequest(server_game_config_id=99)
    number = two.server_game_config_id
    refused = [
        ([asked(held), asked(two, port_bindings=[port(6000)])], Code.RESOURCE_EXHAUSTED, "requests[1] (deployment "),
        (
            [good, asked(one, port_bindings=[port(7)])],
            Code.FAILED_PRECONDITION,
            "requests[1] (deployment 1): port 5000",
        ),
        ([good, ghost], Code.NOT_FOUND, "no deployment 99, named by requests[1]"),
        ([good, asked(held, stop_signal="x")], Code.INVALID_ARGUMENT, "requests[1].stop_signal"),
        ([good, asked(held, update_paths=["x"])], Code.INVALID_ARGUMENT, "requests[1].update_paths"),
        ([good, asked(held, restart_policy=RestartPolicy(max_attempts=1))], Code.INVALID_ARGUMENT, "(deployment 3)"),
        ([good, good], Code.INVALID_ARGUMENT, f"deployment {number} is in requests[0] already"),
        ([], Code.INVALID_ARGUMENT, "requests"),
        ([asked(two)] * 101, Code.INVALID_ARGUMENT, "requests"),
    ]

    for requests, code, words in refused:
        found, text = await world.api.refusal(world.batch(*requests))
        assert (found, words in text) == (code, True), text

    assert [(await world.get(each)).stop_command for each in (one, two, held)] == ["", "", ""]
    assert ports_of(await world.get(held)) == [6000]


async def test_batches_in_opposite_orders_never_wait_for_each_other_in_a_circle(world: World) -> None:
    deployments = [await world.deployment() for _ in range(4)]
    forth = [asked(each, stop_command="a") for each in deployments]
    back = [asked(each, stop_command="b") for each in reversed(deployments)]

    await asyncio.gather(*(world.batch(*requests) for requests in (forth, back) * 5))

    assert len({(await world.get(each)).stop_command for each in deployments}) == 1


async def test_deployments_and_live_sessions_say_where_to_connect(world: World) -> None:
    deployment = await world.deployment(port_bindings=[port(5000, 1, "game")])
    assert [(each.address, each.name) for each in deployment.connect_addresses] == [("h:5000", "game")]
    address = servers_pb2.UpdateServerRequest(server_id=world.server_id, public_address="play.example.org")
    await world.api.control.UpdateServer(address)

    session = (await world.start(deployment)).session

    def shown(found: Any) -> list[tuple[str, str, str, int]]:
        return [(each.address, each.protocol, each.name, each.container_port) for each in found.connect_addresses]

    expected = [("play.example.org:5000", "TCP", "game", 1)]
    listed = await world.api.control.ListServerGameConfigs(pb.ListServerGameConfigsRequest())
    sessions = await world.api.control.ListSessions(sessions_pb2.ListSessionsRequest())
    for found in (session, listed.configs[0], sessions.sessions[0]):
        assert shown(found) == expected


async def test_the_calls_are_there_over_rest(world: World) -> None:
    deployment = await world.deployment(env_overrides={"MODE": "hard"})
    base = f"http://127.0.0.1:{world.api.addresses.rest}/v1"
    number = deployment.server_game_config_id
    async with httpx2.AsyncClient(base_url=base) as client:
        env = await client.get(f"{base}/deployments/{number}/env")
        part = {"server_game_config_id": number, "env_overrides": {"MODE": "easy"}}
        batch = await client.post(f"{base}/deployments:batchUpdate", json={"requests": [part]})
        refused = await client.post(f"{base}/deployments:batchUpdate", json={"requests": []})

    assert env.json()["variables"] == [
        {"name": "MODE", "value": "hard", "masked": False, "source": "server_game_config"}
    ]
    assert batch.json()["configs"][0]["env_overrides"] == {"MODE": "easy"}
    assert refused.status_code == 400
