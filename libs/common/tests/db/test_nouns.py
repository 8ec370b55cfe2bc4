from datetime import timedelta
from typing import Any

import pytest

from manman.db import transitions
from manman.db.models import GameConfigFile
from manman.db.servers import KEPT_CAPABILITIES
from manman.db.transitions import Change
from manman.domain.parameters import Declared
from manman.domain.sessions import Status
from manman.errors import NotFound

PLAYERS = Declared(key="max_players", type="int", default_value="20", required=True, min_value=1, max_value=255)
MODE = Declared(key="mode", allowed_values=("easy", "hard"), description="how hard")


async def test_a_config_keeps_its_parameters_in_order_and_whole(uow: Any, world: Any) -> None:
    async with uow() as tx:
        row = await tx.configs.add(game_id=world.game_id, name="n", image="i", parameters=[MODE, PLAYERS])
        await tx.commit()
    async with uow() as tx:
        loaded = await tx.configs.get(row.config_id)
        assert [value.declared for value in loaded.parameters] == [MODE, PLAYERS]


async def test_two_configs_of_a_game_may_declare_one_key_differently(uow: Any, world: Any) -> None:
    other = Declared(key="max_players", type="string", default_value="", value="8", description="as text")
    async with uow() as tx:
        first = await tx.configs.add(game_id=world.game_id, name="a", image="i", parameters=[PLAYERS])
        second = await tx.configs.add(game_id=world.game_id, name="b", image="i", parameters=[other])
        await tx.commit()
    async with uow() as tx:
        assert (await tx.configs.get(first.config_id)).parameters[0].declared == PLAYERS
        told = (await tx.configs.get(second.config_id)).parameters[0].declared
        assert (told.type, told.value, told.description, told.default_value) == ("string", "8", "as text", "")


async def test_parameters_and_files_are_replaced_as_a_whole(uow: Any, world: Any) -> None:
    async with uow() as tx:
        row = await tx.configs.add(
            game_id=world.game_id,
            name="n",
            image="i",
            parameters=[PLAYERS, MODE],
            files=[GameConfigFile(path="/a", content="1"), GameConfigFile(path="/b")],
        )
        await tx.configs.set_parameters(row, [MODE])
        await tx.configs.set_files(row, [GameConfigFile(path="/b", content="2", mode="0600")])
        await tx.commit()
    async with uow() as tx:
        loaded = await tx.configs.get(row.config_id)
        assert [value.declared.key for value in loaded.parameters] == ["mode"]
        assert [(file.path, file.content, file.mode) for file in loaded.files] == [("/b", "2", "0600")]


async def test_a_deployment_keeps_unknown_keys_and_the_order_of_its_parameters(uow: Any, world: Any) -> None:
    sgc_id = await world.deploy()
    async with uow() as tx:
        row = await tx.deployments.lock(sgc_id)
        row.parameters = {"z": "1", "colour": "red", "a": ""}
        await tx.commit()
    async with uow() as tx:
        row = await tx.deployments.lock(sgc_id)
        assert list(row.parameters.items()) == [("z", "1"), ("colour", "red"), ("a", "")]
        row.parameters = {"a": "2"}
        await tx.commit()
    async with uow() as tx:
        assert (await tx.deployments.get(sgc_id)).parameters == {"a": "2"}


async def test_sessions_are_found_by_every_filter(uow: Any, world: Any) -> None:
    first, second = await world.session(), await world.session()
    async with uow() as tx:
        row = await tx.sessions.lock(first)
        await transitions.apply(tx, row, Change(status=Status.RUNNING), now=world.now)
        await transitions.apply(tx, row, Change(status=Status.CRASHED), now=world.now)
        await tx.commit()

    async def found(**filters: Any) -> list[int]:
        return [run.session_id for run in await uow.reads.runs.list(**filters)]

    assert await found() == [second, first]
    assert await found(sgc_id=row.sgc_id) == [first]
    assert await found(server_id=world.server_id, limit=1) == [second]
    assert await found(server_id=world.server_id, offset=1) == [first]
    assert await found(server_id=99) == []
    assert await found(server_id=world.server_id, statuses=["crashed"]) == [first]
    assert await found(statuses=["crashed", "lost"], live_only=True) == []
    assert await found(live_only=True) == [second]
    assert await found(started_after=world.now - timedelta(seconds=1)) == [first]
    assert await found(started_after=world.now) == []
    assert await found(started_before=world.now) == []


async def test_live_sessions_are_counted_below_each_thing(uow: Any, world: Any) -> None:
    session_id = await world.session()
    async with uow() as tx:
        row = await tx.sessions.get(session_id)
        origin = await tx.deployments.origin(row.sgc_id)
        assert await tx.sessions.count_live(server_id=world.server_id) == 1
        assert await tx.sessions.count_live(game_id=world.game_id) == 1
        assert await tx.sessions.count_live(game_config_id=origin.game_config_id) == 1
        assert await tx.sessions.count_live(sgc_id=row.sgc_id) == 1
        assert await tx.sessions.count_live(server_id=99) == 0


async def test_only_the_newest_capabilities_of_a_host_are_kept(uow: Any, world: Any) -> None:
    async with uow() as tx:
        for index in range(KEPT_CAPABILITIES + 5):
            moment = world.now + timedelta(seconds=index)
            await tx.servers.add_capability(world.server_id, now=moment, values={"cpu_cores": index})
        await tx.commit()
    async with uow() as tx:
        newest = await tx.servers.capabilities([world.server_id, 99])
        assert {server_id: row.cpu_cores for server_id, row in newest.items()} == {
            world.server_id: KEPT_CAPABILITIES + 4
        }


async def test_a_host_is_found_by_name_and_registered_again_under_its_id(uow: Any, world: Any) -> None:
    async with uow() as tx:
        row = await tx.servers.register(name="host", now=world.now, environment="test", features=["wrapper"])
        await tx.commit()
    assert (row.server_id, row.environment, row.features) == (world.server_id, "test", ["wrapper"])
    async with uow() as tx:
        found = await tx.servers.by_name("host")
        assert (found.server_id, found.environment) == (world.server_id, "test")


@pytest.mark.parametrize("noun", ["servers", "games", "configs", "volumes", "deployments", "sessions"])
async def test_an_unknown_id_is_not_found(uow: Any, noun: str) -> None:
    async with uow() as tx:
        with pytest.raises(NotFound, match="99"):
            await getattr(tx, noun).get(99)


async def test_the_outbox_gives_the_oldest_first_and_forgets_what_is_settled(uow: Any, world: Any) -> None:
    for _ in range(3):
        session_id = await world.session()
        async with uow() as tx:
            await transitions.apply(tx, await tx.sessions.lock(session_id), Change(status=Status.LOST), now=world.now)
            await tx.commit()
    async with uow() as tx:
        rows = await tx.outbox.unpublished(limit=2)
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    await uow.waiting.mark([rows[0].id], now=world.now)
    async with uow() as tx:
        await tx.outbox.mark_failed({rows[1].id: "nobody there"}, now=world.now)
        await tx.commit()
    assert await uow.waiting.depth() == 1
    async with uow() as tx:
        assert await tx.outbox.delete_settled(before=world.now) == 0
        assert await tx.outbox.delete_settled(before=world.now + timedelta(seconds=1)) == 2
        await tx.commit()
