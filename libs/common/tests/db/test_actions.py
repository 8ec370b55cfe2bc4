import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from manman.domain.actions import Definition, ExecutionStatus, Field, Option
from manman.errors import AlreadyExists, NotFound

WHOLE = Definition(
    level="game",
    entity_id=1,
    name="change_map",
    label="Change map",
    description="another map",
    command_template="changelevel {{.map}}",
    display_order=3,
    group_name="Maps",
    button_style="warning",
    icon="map",
    requires_confirmation=True,
    confirmation_message="Sure?",
    enabled=True,
    fields=(
        Field(
            name="map",
            label="Map",
            type="select",
            required=True,
            help_text="which",
            display_order=1,
            options=(
                Option(value="b", label="B", display_order=1),
                Option(value="a", display_order=2, is_default=True),
            ),
        ),
        Field(
            name="seconds",
            type="number",
            placeholder="5",
            default_value="1.5",
            display_order=2,
            pattern="^[0-9.]+$",
            min_value=0.1,
            max_value=9.25,
            min_length=1,
            max_length=4,
        ),
    ),
)


def plain(name: str, **columns: Any) -> Definition:
    return Definition(**{"level": "game", "entity_id": 1, "name": name, "command_template": "x", **columns})


async def saved(uow: Any, wanted: Definition) -> int:
    async with uow() as tx:
        row = await tx.actions.save(wanted)
        await tx.commit()
        return row.action_id


async def read(uow: Any, action_id: int) -> Definition:
    async with uow() as tx:
        return (await tx.actions.get(action_id)).definition


async def test_an_action_comes_back_whole_and_in_order(uow: Any) -> None:
    assert await read(uow, await saved(uow, WHOLE)) == WHOLE


async def test_saving_it_again_replaces_everything_and_keeps_the_id(uow: Any) -> None:
    action_id = await saved(uow, WHOLE)
    other = dataclasses.replace(plain("change_map"), fields=(WHOLE.fields[1], Field(name="new", display_order=9)))
    assert await saved(uow, other) == action_id
    assert await read(uow, action_id) == other


async def test_a_replaced_action_cannot_take_the_name_of_another(uow: Any) -> None:
    await saved(uow, plain("first"))
    second = await saved(uow, plain("second"))
    async with uow() as tx:
        row = await tx.actions.lock(second)
        with pytest.raises(AlreadyExists, match="already exists"):
            await tx.actions.replace(row, plain("first"))


async def test_what_is_not_there_is_not_found(uow: Any) -> None:
    async with uow() as tx:
        for ask in (tx.actions.get, tx.actions.lock, tx.actions.get_execution):
            with pytest.raises(NotFound):
                await ask(99)
        assert not await tx.actions.delete(99)


async def test_a_list_has_one_entity_or_all_in_the_order_shown(uow: Any) -> None:
    for name, columns in (
        ("later", {"display_order": 2}),
        ("sooner", {"display_order": 1, "enabled": False}),
        ("other", {"entity_id": 2, "display_order": 1}),
        ("config", {"level": "game_config"}),
    ):
        await saved(uow, plain(name, **columns))
    async with uow() as tx:
        assert [row.name for row in await tx.actions.list(level="game", entity_id=1)] == ["sooner", "later"]
        assert [row.name for row in await tx.actions.list()] == ["config", "sooner", "other", "later"]


async def test_a_session_offers_the_enabled_actions_of_its_game_config_and_deployment(uow: Any, world: Any) -> None:
    sgc_id = await world.deploy()
    other_id = await world.deploy()
    async with uow() as tx:
        origin = await tx.deployments.origin(sgc_id)
    for name, level, entity_id, columns in (
        ("d", "server_game_config", sgc_id, {}),
        ("c", "game_config", origin.game_config_id, {}),
        ("g2", "game", origin.game_id, {"display_order": 2}),
        ("g1", "game", origin.game_id, {"display_order": 1}),
        ("off", "game", origin.game_id, {"enabled": False}),
        ("elsewhere", "server_game_config", other_id, {}),
        ("stranger", "game", origin.game_id + 1, {}),
    ):
        await saved(uow, plain(name, level=level, entity_id=entity_id, **columns))
    async with uow() as tx:
        assert [row.definition.name for row in await tx.actions.offered(origin)] == ["g1", "g2", "c", "d"]


async def test_history_outlives_the_action_under_its_name(uow: Any, world: Any) -> None:
    action_id = await saved(uow, WHOLE)
    session_id = await world.session()
    async with uow() as tx:
        action = await tx.actions.get(action_id)
        for minute, status in enumerate(ExecutionStatus):
            await tx.actions.add_execution(
                action,
                session_id=session_id,
                input_values={"map": "a"},
                rendered_command="changelevel a",
                status=status,
                error_message="",
                triggered_by="x" * 300,
                now=world.now + timedelta(minutes=minute),
            )
        await tx.commit()
    async with uow() as tx:
        assert await tx.actions.delete(action_id)
        await tx.commit()
    async with uow() as tx:
        rows = await tx.actions.executions(session_id=session_id, limit=2)
        assert [(row.action_id, row.action_name, row.status) for row in rows] == [
            (None, "change_map", "failed"),
            (None, "change_map", "validation_error"),
        ]
        assert (rows[0].input_values, len(rows[0].triggered_by), rows[0].error_message) == ({"map": "a"}, 200, None)


async def test_actions_go_with_their_entity(uow: Any, world: Any) -> None:
    sgc_id = await world.deploy()
    action_id = await saved(uow, plain("n", level="server_game_config", entity_id=sgc_id))
    async with uow() as tx:
        await tx.deployments.delete(sgc_id)
        await tx.commit()
    async with uow() as tx:
        with pytest.raises(NotFound):
            await tx.actions.get(action_id)
