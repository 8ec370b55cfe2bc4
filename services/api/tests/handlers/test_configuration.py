"""Strategies and patches: what may be saved, and what a session gets of them."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from manman.db.models import ParameterDefinition, StrategyParameterBinding
from manman.domain.configs import Volume
from manman.domain.parameters import Declared
from manman.domain.rendering import FileTemplate
from manman.errors import AlreadyExists, Conflict, Invalid, NotFound
from manman.messages.codec import decode
from manman.messages.commands import File, StartSession
from manman_api.handlers import configuration, deployments, patches, sessions, strategies, volumes
from manman_api.handlers.patches import PatchValues


async def strategy(world: Any, game_id: int, **values: Any) -> Any:
    plain: dict[str, Any] = {"name": "props", "description": "", "strategy_type": "file_properties"}
    plain |= {"target_path": "/data/server.properties", "base_template": "", "render_options": {}, "apply_order": 0}
    return await strategies.create_strategy(game_id=game_id, values={**plain, **values}, uow=world.uow)


async def change(world: Any, row: Any, *paths: str, **values: Any) -> Any:
    plain: dict[str, Any] = {"name": "", "description": "", "strategy_type": "", "target_path": ""}
    plain |= {"base_template": "", "render_options": {}, "apply_order": 0}
    return await strategies.update_strategy(
        strategy_id=row.strategy_id, values={**plain, **values}, update_paths=paths, uow=world.uow
    )


def said(content: str, **more: Any) -> PatchValues:
    return PatchValues(**{"content": content, "format": "", "order": 0, "volume_id": 0, "path_override": "", **more})


async def patch(world: Any, row: Any, level: str, entity_id: int, content: str, **more: Any) -> Any:
    return await patches.create_patch(
        strategy_id=row.strategy_id, level=level, entity_id=entity_id, values=said(content, **more), uow=world.uow
    )


async def volume(world: Any, config: Any, **values: Any) -> Any:
    made = Volume(**{"name": "data", "container_path": "/data", **values})
    return await volumes.create_volume(config_id=config.config_id, volume=made, uow=world.uow)


async def start(world: Any, deployment: Any, **values: str) -> Any:
    return await sessions.start_session(
        deployment_id=deployment.sgc_id, parameters=values, force=False, timeout_s=60, now=world.now, uow=world.uow
    )


async def command(world: Any) -> StartSession:
    async with world.uow() as tx:
        row = next(row for row in await tx.outbox.unpublished(limit=100) if ".session.start" in row.routing_key)
        return decode(StartSession, row.body)


async def seen(world: Any, run: Any, tried: dict[str, str] | None = None) -> Any:
    return await configuration.of_session(session_id=run.session_id, tried=tried, uow=world.uow)


async def bind(world: Any, row: Any, key: str, **columns: Any) -> None:
    async with world.uow() as tx:
        db = tx.configuration._db
        parameter = await db.scalar(
            select(ParameterDefinition).where(
                ParameterDefinition.game_id == row.game_id, ParameterDefinition.key == key
            )
        )
        db.add(StrategyParameterBinding(strategy_id=row.strategy_id, param_id=parameter.param_id, **columns))
        await tx.commit()


async def test_a_session_starts_with_arguments_environment_and_files_of_every_layer(world: Any) -> None:
    config = await world.config(
        args_template="--world",
        env_template={"EULA": "TRUE", "MODE": "{{mode}}"},
        files=[FileTemplate(path="/data/server.properties", content="from the config")],
        parameters=[Declared(key="max_players", type="int", default_value="20"), Declared(key="mode", value="easy")],
    )
    await volume(world, config)
    properties = await strategy(world, config.game_id, base_template="# hdr\nmotd={{mode}}", apply_order=1)
    await bind(world, properties, "max_players", binding_type="direct", target_key="max-players")
    await strategy(world, config.game_id, name="args", strategy_type="cli_args", base_template="--mode {{mode}}")
    await strategy(world, config.game_id, name="env", strategy_type="env_vars", base_template="MODE=strategy\nNEW=1")
    options = {"mode": "0600", "indent": "1"}
    as_json = {"strategy_type": "file_json", "target_path": "/data/a.json", "render_options": options}
    document = await strategy(world, config.game_id, name="json", **as_json)
    deployment = await world.deploy(await world.host(), config, values={"mode": "hard"})
    await patch(world, properties, "server_game_config", deployment.sgc_id, "motd=SGC\npvp=true")
    await patch(world, properties, "game_config", config.config_id, "motd=GC", format="properties")
    await patch(world, document, "game_config", config.config_id, '{"max": {{max_players}}}', format="json_merge_patch")

    await start(world, deployment, max_players="5")

    told = (await command(world)).game_config
    assert told.args_template == "--world --mode hard"
    assert told.env_template == {"EULA": "TRUE", "MODE": "strategy", "NEW": "1"}
    assert told.files == [
        File(path="/data/server.properties", content="# hdr\nmotd=SGC\nmax-players=5\npvp=true", mode="0644"),
        File(path="/data/a.json", content='{\n "max": 5\n}', mode="0600"),
    ]


async def test_a_session_shows_what_each_layer_contributed(world: Any) -> None:
    config = await world.config(parameters=[Declared(key="n", type="int", default_value="1")])
    await volume(world, config)
    row = await strategy(world, config.game_id, base_template="a={{n}}")
    await bind(world, row, "n", binding_type="direct", target_key="n")
    deployment = await world.deploy(await world.host(), config)
    first = await patch(world, row, "game_config", config.config_id, "b=1")
    run = await start(world, deployment, n="2")
    last = await patch(world, row, "session", run.session_id, "c={{n}}")

    found = await seen(world, run)
    assert (found.game_id, found.config_id, found.deployment_id) == (
        config.game_id,
        config.config_id,
        deployment.sgc_id,
    )
    (rendered,) = found.configurations
    assert (rendered.base, rendered.content) == ("a=2", "a=2\nn=2\nb=1\nc=2")
    assert [(layer.level, layer.origin, layer.patch_id, layer.text) for layer in rendered.layers] == [
        ("game_config", "parameters", 0, '{"n": "1"}'),
        ("game_config", "patch", first.patch_id, "b=1"),
        ("session", "parameters", 0, '{"n": "2"}'),
        ("session", "patch", last.patch_id, "c=2"),
    ]

    (tried,) = (await seen(world, run, {"n": "9"})).configurations
    assert tried.content == "a=9\nn=9\nb=1\nc=9"
    assert tried.layers[-1].level == "preview"
    assert (await seen(world, run)).configurations[0].content == rendered.content
    with pytest.raises(Invalid, match=r"parameters\.n"):
        await seen(world, run, {"n": "many"})
    with pytest.raises(NotFound, match="session 99"):
        await configuration.of_session(session_id=99, tried=None, uow=world.uow)


async def test_a_patch_can_put_a_file_on_another_volume(world: Any) -> None:
    config = await world.config()
    await volume(world, config)
    saves = await volume(world, config, name="saves", container_path="/saves", volume_type="named")
    row = await strategy(world, config.game_id, base_template="a=1")
    deployment = await world.deploy(await world.host(), config)
    place = {"volume_id": saves.volume_id, "path_override": "cfg/x.properties"}
    await patch(world, row, "server_game_config", deployment.sgc_id, "", **place)
    await start(world, deployment)
    assert [file.path for file in (await command(world)).game_config.files] == ["/saves/cfg/x.properties"]


async def test_a_start_that_cannot_be_rendered_is_refused_with_strategy_and_patch(world: Any) -> None:
    config = await world.config(parameters=[Declared(key="n", default_value="1")])
    await volume(world, config)
    as_json = {"strategy_type": "file_json", "target_path": "/data/a.json"}
    row = await strategy(world, config.game_id, name="json", **as_json)
    made = await patch(world, row, "game_config", config.config_id, '{"n": {{n}}}')
    server = await world.host()
    with pytest.raises(
        Conflict, match=rf"\(json, file_json\) .*patch {made.patch_id} of level game_config is not JSON"
    ):
        await world.deploy(server, config, values={"n": "one two"})
    deployment = await world.deploy(server, config)
    with pytest.raises(Conflict, match=rf"strategy {row.strategy_id} .*patch {made.patch_id} "):
        await start(world, deployment, n="one two")
    async with world.uow() as tx:
        assert not await tx.sessions.live_ids([deployment.sgc_id])
    with pytest.raises(Conflict, match="is not JSON"):
        await deployments.update_deployment(
            deployment_id=deployment.sgc_id,
            values=world.deployment_values(parameters={"n": "one two"}),
            update_paths=["parameters"],
            default_ranges=world.ranges,
            now=world.now,
            uow=world.uow,
        )


async def test_a_start_with_a_file_on_no_volume_is_refused(world: Any) -> None:
    config = await world.config()
    await strategy(world, config.game_id, base_template="a=1")
    deployment = await world.deploy(await world.host(), config)
    with pytest.raises(Conflict, match=r"no volume of the config covers /data/server\.properties"):
        await start(world, deployment)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"target_path": ""}, "target_path"),
        ({"target_path": "server.properties"}, "target_path"),
        ({"target_path": "/data/../etc/passwd"}, "target_path"),
        ({"strategy_type": "file_json", "base_template": "{"}, "base_template"),
        ({"base_template": "x" * 300_000}, "base_template"),
        ({"render_options": {"mode": "rw"}}, "render_options"),
    ],
)
async def test_a_strategy_that_could_never_work_is_refused(world: Any, values: Any, field: str) -> None:
    config = await world.config()
    with pytest.raises(Invalid) as refused:
        await strategy(world, config.game_id, **values)
    assert refused.value.problems[0].field.startswith(field)


async def test_strategies_are_listed_in_the_order_in_which_they_apply(world: Any) -> None:
    config = await world.config()
    late = await strategy(world, config.game_id, name="late", apply_order=2)
    first = await strategy(world, config.game_id, name="first", apply_order=-1)
    second = await strategy(world, config.game_id, name="second")
    rows = await strategies.list_strategies(game_id=config.game_id, uow=world.uow)
    assert [row.name for row in rows] == ["first", "second", "late"]
    with pytest.raises(AlreadyExists):
        await strategy(world, config.game_id, name="late")
    with pytest.raises(NotFound, match="game 99"):
        await strategy(world, 99)
    for row in (late, late, first, second):
        await strategies.delete_strategy(strategy_id=row.strategy_id, uow=world.uow)
    assert await strategies.list_strategies(game_id=config.game_id, uow=world.uow) == []


async def test_an_update_without_a_mask_keeps_what_is_empty_and_with_one_clears_it(world: Any) -> None:
    config = await world.config()
    row = await strategy(world, config.game_id, description="words", base_template="a=1", apply_order=3)
    changed = await change(world, row, base_template="b=2")
    assert (changed.base_template, changed.description, changed.apply_order) == ("b=2", "words", 3)
    changed = await change(world, row, "description", "apply_order", base_template="unused")
    assert (changed.base_template, changed.description, changed.apply_order) == ("b=2", None, 0)
    for paths in (["name"], ["game_id"], ["target_path"]):
        with pytest.raises(Invalid):
            await change(world, row, *paths)
    with pytest.raises(NotFound):
        await strategies.update_strategy(strategy_id=99, values={"name": "x"}, update_paths=[], uow=world.uow)


async def test_a_strategy_keeps_its_type_while_a_patch_would_not_fit_another(world: Any) -> None:
    config = await world.config()
    row = await strategy(world, config.game_id)
    made = await patch(world, row, "game_config", config.config_id, "a=1", format="properties")
    with pytest.raises(Conflict, match=f"patch {made.patch_id} would not fit file_json"):
        await change(world, row, strategy_type="file_json")
    await patches.delete_patch(patch_id=made.patch_id, uow=world.uow)
    assert (await change(world, row, strategy_type="file_json")).strategy_type == "file_json"


async def test_a_patch_belongs_to_an_entity_of_its_game(world: Any) -> None:
    config, other = await world.config(), await world.config()
    row = await strategy(world, config.game_id)
    deployment = await world.deploy(await world.host(), other)
    run = await start(world, deployment)
    for level, entity_id in (
        ("game_config", other.config_id),
        ("server_game_config", deployment.sgc_id),
        ("session", run.session_id),
    ):
        with pytest.raises(Invalid, match=f"entity_id: belongs to game {other.game_id}"):
            await patch(world, row, level, entity_id, "a=1")
        with pytest.raises(NotFound):
            await patch(world, row, level, 99, "a=1")
    with pytest.raises(NotFound, match="configuration strategy 99"):
        await patches.create_patch(
            strategy_id=99, level="game_config", entity_id=config.config_id, values=said(""), uow=world.uow
        )


@pytest.mark.parametrize(
    ("content", "more", "field"),
    [
        ("a=1", {"format": "json_patch"}, "patch_format"),
        ("no separator", {}, "patch_content"),
        ("a=" + "x" * 300_000, {}, "patch_content"),
        ("a=1", {"path_override": "x"}, "volume_id"),
    ],
)
async def test_a_patch_that_could_never_be_applied_is_refused(world: Any, content: str, more: Any, field: str) -> None:
    config = await world.config()
    row = await strategy(world, config.game_id)
    with pytest.raises(Invalid) as refused:
        await patch(world, row, "game_config", config.config_id, content, **more)
    assert [problem.field for problem in refused.value.problems] == [field]


async def test_a_patch_is_placed_on_a_volume_of_its_own_config(world: Any) -> None:
    config, other = await world.config(), await world.config()
    mine, foreign = await volume(world, config), await volume(world, other)
    row = await strategy(world, config.game_id)
    for volume_id, path, field in (
        (foreign.volume_id, "", "volume_id"),
        (mine.volume_id, "../x", "path_override"),
        (mine.volume_id, "/", "path_override"),
    ):
        with pytest.raises(Invalid) as refused:
            await patch(world, row, "game_config", config.config_id, "", volume_id=volume_id, path_override=path)
        assert [problem.field for problem in refused.value.problems] == [field]
    with pytest.raises(NotFound, match="volume 99"):
        await patch(world, row, "game_config", config.config_id, "", volume_id=99)


async def test_patches_are_listed_in_the_order_in_which_they_apply(world: Any) -> None:
    config = await world.config()
    row = await strategy(world, config.game_id)
    deployment = await world.deploy(await world.host(), config)
    third = await patch(world, row, "server_game_config", deployment.sgc_id, "a=3")
    second = await patch(world, row, "game_config", config.config_id, "a=2", order=2)
    first = await patch(world, row, "game_config", config.config_id, "a=1")

    async def listed(**filters: Any) -> list[int]:
        plain = {"strategy_id": None, "level": None, "entity_id": None}
        return [found.patch_id for found in await patches.list_patches(**{**plain, **filters}, uow=world.uow)]

    assert await listed() == [first.patch_id, second.patch_id, third.patch_id]
    assert await listed(strategy_id=99) == []
    assert await listed(level="server_game_config", entity_id=deployment.sgc_id) == [third.patch_id]

    replaced = await patches.update_patch(
        patch_id=first.patch_id, values=said("b=1", format="properties", order=9), uow=world.uow
    )
    assert (replaced.patch_content, replaced.patch_format, replaced.patch_order) == ("b=1", "properties", 9)
    assert await listed(level="game_config") == [second.patch_id, first.patch_id]
    with pytest.raises(NotFound, match="configuration patch 99"):
        await patches.update_patch(patch_id=99, values=said(""), uow=world.uow)
    await deployments.undeploy(deployment_id=deployment.sgc_id, uow=world.uow)
    assert await listed(level="server_game_config") == []
    await patches.delete_patch(patch_id=99, uow=world.uow)


async def test_parameters_that_no_longer_fit_are_told_when_a_session_is_looked_at(world: Any) -> None:
    config = await world.config()
    await strategy(world, config.game_id)
    await volume(world, config)
    run = await start(world, await world.deploy(await world.host(), config), n="words")
    async with world.uow() as tx:
        await tx.configs.set_parameters(await tx.configs.lock(config.config_id), [Declared(key="n", type="int")])
        await tx.commit()
    with pytest.raises(Conflict, match=r"parameters of session .* do not fit its config"):
        await seen(world, run)


async def test_types_of_parameters_reach_a_json_file(world: Any) -> None:
    config = await world.config(
        parameters=[Declared(key="n", type="int", default_value="7"), Declared(key="on", type="bool", value="True")]
    )
    await volume(world, config)
    row = await strategy(world, config.game_id, strategy_type="file_json", target_path="/data/a.json")
    await bind(world, row, "n", binding_type="json_path", target_key="$.game.n")
    await bind(world, row, "on", binding_type="json_path", target_key="$.game.on", condition_expr="only_if:n=7")
    await start(world, await world.deploy(await world.host(), config))
    assert json.loads((await command(world)).game_config.files[0].content) == {"game": {"n": 7, "on": True}}
