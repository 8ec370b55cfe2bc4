from typing import Any

import pytest

from manman.domain.configs import Volume
from manman.domain.parameters import Declared
from manman.domain.rendering import FileTemplate
from manman.errors import AlreadyExists, Conflict, Invalid, NotFound
from manman_api.handlers import configs, games, sessions, volumes
from manman_api.paging import Page


async def game(world: Any, name: str = "Doom") -> Any:
    return await games.create_game(name=name, steam_app_id="2280", metadata={"genre": "fps"}, uow=world.uow)


async def test_a_game_is_kept_as_told(world: Any) -> None:
    row = await games.get_game(game_id=(await game(world)).game_id, uow=world.uow)

    assert (row.name, row.steam_app_id, row.metadata_) == ("Doom", "2280", {"genre": "fps"})


async def test_a_games_name_is_unique(world: Any) -> None:
    await game(world)

    with pytest.raises(AlreadyExists, match="already exists"):
        await game(world)


async def test_a_mask_clears_and_its_absence_keeps(world: Any) -> None:
    row = await game(world)
    values = {"name": "", "steam_app_id": "", "metadata": None}

    kept = await games.update_game(game_id=row.game_id, values=values, update_paths=[], uow=world.uow)
    assert (kept.name, kept.steam_app_id) == ("Doom", "2280")

    paths = ["steam_app_id", "metadata"]
    cleared = await games.update_game(game_id=row.game_id, values=values, update_paths=paths, uow=world.uow)
    assert (cleared.name, cleared.steam_app_id, cleared.metadata_) == ("Doom", None, {})


async def test_games_are_listed_page_by_page(world: Any) -> None:
    for number in range(5):
        await game(world, f"g{number}")

    first, token = await games.list_games(page=Page(2), uow=world.uow)
    last, end = await games.list_games(page=Page(2, 4), uow=world.uow)

    assert ([row.name for row in first], bool(token)) == (["g0", "g1"], True)
    assert ([row.name for row in last], end) == (["g4"], "")


async def test_a_config_comes_back_with_files_and_parameters_in_order(world: Any) -> None:
    made = await world.config(
        files=[
            FileTemplate(path="/b", content="{{x}}", is_template=True),
            FileTemplate(path="/a", content="", mode=""),
        ],
        parameters=[Declared(key="z", type="int", default_value="1", max_value=5), Declared(key="a", type="")],
        resources={"memory_mb": 512, "cpu_millicores": 250, "pids_limit": 99},
        env_template={"EULA": "TRUE"},
        command=["run", "--now"],
        entrypoint=["/start"],
        stop_command="quit",
        stop_timeout_seconds=20,
        stop_signal="SIGINT",
        isolation={"read_only_root": True, "extra_capabilities": ["NET_RAW"]},
    )

    row = await configs.get_config(config_id=made.config_id, uow=world.uow)

    assert [(file.path, file.mode, file.is_template) for file in row.files] == [
        ("/b", "0644", True),
        ("/a", "0644", False),
    ]
    assert [parameter.key for parameter in configs.declared(row)] == ["z", "a"]
    assert configs.declared(row)[0].max_value == 5
    assert (row.memory_mb, row.cpu_millicores, row.pids_limit) == (512, 250, 99)
    assert (row.env_template, row.command, row.entrypoint) == ({"EULA": "TRUE"}, ["run", "--now"], ["/start"])
    assert (row.stop_command, row.stop_timeout_seconds, row.stop_signal) == ("quit", 20, "SIGINT")
    assert (row.read_only_root, row.no_capabilities, row.with_init) == (True, False, False)
    assert row.extra_capabilities == ["NET_RAW"]


async def test_isolation_is_changed_and_cleared_as_a_whole(world: Any) -> None:
    made = await world.config(isolation={"read_only_root": True, "with_init": True})
    changed = await configs.update_config(
        config_id=made.config_id,
        values=world.values(isolation={"no_capabilities": True}),
        update_paths=[],
        uow=world.uow,
    )
    assert (changed.read_only_root, changed.no_capabilities, changed.with_init) == (False, True, False)
    cleared = await configs.update_config(
        config_id=made.config_id, values=world.values(), update_paths=["isolation"], uow=world.uow
    )
    assert (cleared.no_capabilities, cleared.extra_capabilities) == (False, [])


async def test_two_configs_of_a_game_may_declare_one_key_differently(world: Any) -> None:
    row = await game(world)
    declared = {"one": Declared(key="x", type="int", default_value="1"), "two": Declared(key="x", default_value="y")}
    for name, parameter in declared.items():
        values = world.values(name=name, parameters=[parameter])
        await configs.create_config(game_id=row.game_id, values=values, uow=world.uow)

    rows, _ = await configs.list_configs(game_id=row.game_id, page=Page(), uow=world.uow)

    assert [(p.type, p.default_value) for config in rows for p in configs.declared(config)] == [
        ("int", "1"),
        ("string", "y"),
    ]


async def test_an_update_replaces_files_and_parameters_as_a_whole(world: Any) -> None:
    made = await world.config(
        files=[FileTemplate(path="/a", content="1"), FileTemplate(path="/b", content="1")],
        parameters=[Declared(key="a"), Declared(key="b")],
        args_template="--x",
    )

    values = world.values(
        name="", image="", files=[FileTemplate(path="/b", content="2")], parameters=[Declared(key="b", value="3")]
    )
    await configs.update_config(config_id=made.config_id, values=values, update_paths=[], uow=world.uow)

    row = await configs.get_config(config_id=made.config_id, uow=world.uow)
    assert [(file.path, file.content) for file in row.files] == [("/b", "2")]
    assert [(parameter.key, parameter.value) for parameter in configs.declared(row)] == [("b", "3")]
    assert (row.name, row.image, row.args_template) == ("config", "game:1", "--x")


async def test_a_mask_can_empty_a_list(world: Any) -> None:
    made = await world.config(command=["run"], parameters=[Declared(key="a")])

    row = await configs.update_config(
        config_id=made.config_id, values=world.values(), update_paths=["command", "parameters"], uow=world.uow
    )

    assert (row.command, configs.declared(row)) == ([], [])


async def test_every_problem_of_a_config_is_named_at_once(world: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await world.config(
            image="a b",
            env_template={"A=B": ""},
            files=[FileTemplate(path="x", content="")],
            parameters=[Declared(key="n", type="int", default_value="many")],
            stop_signal="9",
            isolation={"extra_capabilities": ["SYS_ADMIN"]},
        )

    assert [problem.field for problem in refused.value.problems] == [
        "image",
        "env_template.A=B",
        "files[0].path",
        "stop_signal",
        "isolation.extra_capabilities[0]",
        "parameters[0].default_value",
    ]


async def test_a_config_needs_its_game_and_a_name_of_its_own(world: Any) -> None:
    row = await game(world)
    await configs.create_config(game_id=row.game_id, values=world.values(), uow=world.uow)

    with pytest.raises(AlreadyExists, match="already exists"):
        await configs.create_config(game_id=row.game_id, values=world.values(), uow=world.uow)
    with pytest.raises(NotFound, match="game 99"):
        await configs.create_config(game_id=99, values=world.values(), uow=world.uow)


async def test_what_has_a_live_session_below_cannot_be_removed(world: Any) -> None:
    deployment = await world.deployment()
    await sessions.start_session(
        deployment_id=deployment.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
    )
    config = await configs.get_config(config_id=deployment.game_config_id, uow=world.uow)

    with pytest.raises(Conflict):
        await configs.delete_config(config_id=config.config_id, uow=world.uow)
    with pytest.raises(Conflict):
        await games.delete_game(game_id=config.game_id, uow=world.uow)


async def test_removing_a_game_removes_everything_below_it(world: Any) -> None:
    deployment = await world.deployment()
    config = await configs.get_config(config_id=deployment.game_config_id, uow=world.uow)

    for _ in range(2):
        await games.delete_game(game_id=config.game_id, uow=world.uow)

    with pytest.raises(NotFound):
        await configs.get_config(config_id=config.config_id, uow=world.uow)
    async with world.uow() as tx:
        assert await tx.deployments.list() == []


async def test_a_volume_is_made_replaced_and_removed(world: Any) -> None:
    config = await world.config()
    made = await volumes.create_volume(
        config_id=config.config_id, volume=Volume(name="data", container_path="/data"), uow=world.uow
    )
    assert (made.volume_type, made.host_subpath) == ("bind", None)

    volume = Volume(name="saves", container_path="/data", host_subpath="s", read_only=True, volume_type="named")
    await volumes.update_volume(volume_id=made.volume_id, volume=volume, uow=world.uow)

    row = await volumes.get_volume(volume_id=made.volume_id, uow=world.uow)
    assert (row.name, row.host_subpath, row.read_only, row.volume_type) == ("saves", "s", True, "named")
    for _ in range(2):
        await volumes.delete_volume(volume_id=made.volume_id, uow=world.uow)
    assert await volumes.list_volumes(config_id=config.config_id, uow=world.uow) == []


async def test_two_volumes_of_a_config_share_neither_path_nor_name(world: Any) -> None:
    config = await world.config()
    await volumes.create_volume(
        config_id=config.config_id, volume=Volume(name="data", container_path="/data"), uow=world.uow
    )

    with pytest.raises(AlreadyExists, match=r"volume at /data \(data\) already exists"):
        await volumes.create_volume(
            config_id=config.config_id, volume=Volume(name="more", container_path="/data"), uow=world.uow
        )
    with pytest.raises(AlreadyExists, match="already exists"):
        await volumes.create_volume(
            config_id=config.config_id, volume=Volume(name="data", container_path="/more"), uow=world.uow
        )
    with pytest.raises(NotFound):
        await volumes.create_volume(config_id=99, volume=Volume(name="a", container_path="/a"), uow=world.uow)
