"""Strategies, patches and what they give, over gRPC and REST."""

from typing import Any

import grpc
import httpx2
import pytest

from manman.v1 import configuration_pb2 as pb
from manman.v1 import game_configs_pb2, games_pb2, server_game_configs_pb2, servers_pb2, sessions_pb2, volumes_pb2
from manman.v1.values_pb2 import Parameter

Code = grpc.StatusCode
TYPES = ["cli_args", "env_vars", "file_properties", "file_json", "file_yaml", "file_toml", "file_ini", "file_xml"]
TYPES += ["file_lua", "file_custom"]


class World:
    """A deployment on a host that is there."""

    def __init__(self, api: Any, game_id: int, config_id: int, deployment_id: int) -> None:
        self.api = api
        self.game_id = game_id
        self.config_id = config_id
        self.deployment_id = deployment_id

    async def strategy(self, **more: Any) -> Any:
        values = {"game_id": self.game_id, "name": "s", "strategy_type": "file_json", "target_path": "/data/a.json"}
        request = pb.CreateConfigurationStrategyRequest(**{**values, **more})
        return (await self.api.control.CreateConfigurationStrategy(request)).strategy

    async def patch(self, strategy: Any, **more: Any) -> Any:
        values = {"strategy_id": strategy.strategy_id, "patch_level": "game_config", "entity_id": self.config_id}
        request = pb.CreateConfigurationPatchRequest(**{**values, **more})
        return (await self.api.control.CreateConfigurationPatch(request)).patch

    def start(self, **parameters: str) -> Any:
        request = sessions_pb2.StartSessionRequest(server_game_config_id=self.deployment_id, parameters=parameters)
        return self.api.control.StartSession(request)


@pytest.fixture
async def world(api: Any) -> World:
    control = api.control
    server = (await control.RegisterServer(servers_pb2.RegisterServerRequest(name="h"))).server
    game = (await control.CreateGame(games_pb2.CreateGameRequest(name="g"))).game
    parameter = Parameter(key="n", default_value="1")
    create = game_configs_pb2.CreateGameConfigRequest(
        game_id=game.game_id, name="c", image="game:1", parameters=[parameter]
    )
    config = (await control.CreateGameConfig(create)).config
    volume = {"config_id": config.config_id, "name": "data", "container_path": "/data"}
    await control.CreateGameConfigVolume(volumes_pb2.CreateGameConfigVolumeRequest(**volume))
    place = {"server_id": server.server_id, "game_config_id": config.config_id}
    deployment = (await control.DeployGameConfig(server_game_configs_pb2.DeployGameConfigRequest(**place))).config
    return World(api, game.game_id, config.config_id, deployment.server_game_config_id)


async def test_a_strategy_lives_as_it_was_written(world: World, api: Any) -> None:
    control = api.control
    options = {"indent": "4", "read_only": "true"}
    made = await world.strategy(base_template="{}", description="d", render_options=options, apply_order=2)
    assert (made.description, made.base_template, dict(made.render_options), made.apply_order) == (
        "d",
        "{}",
        options,
        2,
    )
    change = {"strategy_id": made.strategy_id, "name": "t", "update_paths": ["name", "description", "apply_order"]}
    changed = (await control.UpdateConfigurationStrategy(pb.UpdateConfigurationStrategyRequest(**change))).strategy
    assert (changed.name, changed.description, changed.apply_order, changed.base_template) == ("t", "", 0, "{}")
    listing = pb.ListConfigurationStrategiesRequest(game_id=world.game_id)
    assert list((await control.ListConfigurationStrategies(listing)).strategies) == [changed]
    for _ in range(2):
        await control.DeleteConfigurationStrategy(pb.DeleteConfigurationStrategyRequest(strategy_id=made.strategy_id))
    assert not (await control.ListConfigurationStrategies(listing)).strategies


@pytest.mark.parametrize("strategy_type", TYPES)
async def test_every_type_can_be_stored(world: World, strategy_type: str) -> None:
    assert (await world.strategy(strategy_type=strategy_type)).strategy_type == strategy_type


async def test_refusals_have_the_right_codes(world: World, api: Any) -> None:
    made = await world.strategy()
    refusal, control = api.refusal, api.control
    update, Update = control.UpdateConfigurationStrategy, pb.UpdateConfigurationStrategyRequest  # noqa: N806 - a class

    code, text = await refusal(world.strategy())
    assert (code, "already exists" in text) == (Code.ALREADY_EXISTS, True)
    assert (await refusal(world.strategy(name="v", strategy_type="volume")))[0] == Code.INVALID_ARGUMENT
    assert (await refusal(world.strategy(name="v", target_path="a")))[0] == Code.INVALID_ARGUMENT
    assert (await refusal(world.strategy(name="v", game_id=99)))[0] == Code.NOT_FOUND
    assert (await refusal(update(Update(strategy_id=99, name="x"))))[0] == Code.NOT_FOUND
    assert (await refusal(update(Update(strategy_id=made.strategy_id, update_paths=["id"]))))[
        0
    ] == Code.INVALID_ARGUMENT
    assert (await refusal(world.patch(made, patch_format="ini")))[0] == Code.INVALID_ARGUMENT
    assert (await refusal(world.patch(made, patch_content="{")))[0] == Code.INVALID_ARGUMENT
    assert (await refusal(world.patch(made, entity_id=99)))[0] == Code.NOT_FOUND
    missing = pb.UpdateConfigurationPatchRequest(patch_id=99)
    assert (await refusal(control.UpdateConfigurationPatch(missing)))[0] == Code.NOT_FOUND
    session = pb.GetSessionConfigurationRequest(session_id=99)
    assert (await refusal(control.GetSessionConfiguration(session)))[0] == Code.NOT_FOUND
    preview = pb.PreviewConfigurationRequest(session_id=99)
    assert (await refusal(control.PreviewConfiguration(preview)))[0] == Code.NOT_FOUND


async def test_a_start_that_cannot_be_rendered_is_a_failed_precondition(world: World, api: Any) -> None:
    made = await world.strategy()
    patch = await world.patch(made, patch_content='{"n": {{n}}}')
    code, text = await api.refusal(world.start(n="many words"))
    assert code == Code.FAILED_PRECONDITION
    assert f"strategy {made.strategy_id} (s, file_json)" in text
    assert f"patch {patch.patch_id} of level game_config" in text
    run = (await world.start(n="5")).session
    ids = pb.GetSessionConfigurationRequest(session_id=run.session_id)
    found = await api.control.GetSessionConfiguration(ids)
    assert (found.game_id, found.game_config_id) == (world.game_id, world.config_id)
    assert found.server_game_config_id == world.deployment_id
    assert found.configurations[0].rendered_content == '{\n  "n": 5\n}'


async def test_rest_has_the_same_configuration(world: World, api: Any) -> None:
    base = f"http://127.0.0.1:{api.addresses.rest}/v1"
    body = {"name": "p", "strategy_type": "file_properties", "target_path": "/data/p", "base_template": "# c\na=1"}
    async with httpx2.AsyncClient(trust_env=False) as client:
        of_game = f"{base}/games/{world.game_id}/configuration-strategies"
        strategy = (await client.post(of_game, json=body)).json()["strategy"]
        one = f"{base}/configuration-strategies/{strategy['strategy_id']}"
        changed = await client.patch(one, json={"description": "words"})
        content = {"patch_level": "game_config", "entity_id": world.config_id, "patch_content": "n={{n}}"}
        patch = (await client.post(f"{one}/patches", json=content)).json()["patch"]
        replaced = await client.put(
            f"{base}/configuration-patches/{patch['patch_id']}", json={"patch_content": "a={{n}}", "patch_order": 3}
        )
        listed = (await client.get(f"{base}/configuration-patches", params={"patch_level": "game_config"})).json()
        start = {"server_game_config_id": world.deployment_id}
        session = (await client.post(f"{base}/sessions", json=start)).json()["session"]["session_id"]
        shown = (await client.get(f"{base}/sessions/{session}/configuration")).json()
        tried = await client.post(
            f"{base}/sessions/{session}/configuration:preview", json={"parameter_overrides": {"n": "7"}}
        )
        gone = [
            await client.delete(f"{base}/configuration-patches/{patch['patch_id']}"),
            await client.delete(one),
        ]
        refused = await client.post(of_game, json={**body, "target_path": "../p"})

    assert changed.json()["strategy"]["description"] == "words"
    assert (replaced.json()["patch"]["patch_format"], replaced.json()["patch"]["patch_order"]) == ("template", 3)
    assert [found["patch_id"] for found in listed["patches"]] == [patch["patch_id"]]
    assert shown["configurations"][0]["base_content"] == "# c\na=1"
    assert shown["configurations"][0]["rendered_content"] == "# c\na=1"
    assert shown["configurations"][0]["patches"][0]["origin"] == "patch"
    assert tried.json()["configurations"][0]["rendered_content"] == "# c\na=7"
    assert [answer.status_code for answer in gone] == [200, 200]
    assert (refused.status_code, "target_path" in refused.text) == (400, True)
