"""Actions over gRPC and REST, and to a host that answers on the real broker."""

import contextlib
import re
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from manman.bus import topology
from manman.bus.connection import connect
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.settings import BusSettings
from manman.v1 import actions_pb2 as pb
from manman_api.handlers.actions import OUTCOME_UNKNOWN
from manman_devstack.eventually import eventually
from manman_devstack.scripted_host import console

Code = grpc.StatusCode

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "actions.md").read_text()

MAP = pb.ActionInputField(name="map", label="Map", field_type="select", required=True)
OPTIONS = [pb.ActionInputOption(value="de_dust2", is_default=True), pb.ActionInputOption(value="de_inferno")]


def action(**columns: Any) -> pb.ActionDefinition:
    plain = {"definition_level": "game", "entity_id": 1, "name": "change_map", "enabled": True}
    return pb.ActionDefinition(**{**plain, "command_template": "changelevel {{.map}}", **columns})


async def create(api: Any, columns: dict[str, Any] | None = None, fields: Any = (MAP,), options: Any = OPTIONS) -> int:
    wanted = action(**columns or {})
    request = pb.CreateActionDefinitionRequest(action=wanted, input_fields=fields, input_options=options)
    return (await api.control.CreateActionDefinition(request)).action_id


async def get(api: Any, action_id: int) -> Any:
    return await api.control.GetActionDefinition(pb.GetActionDefinitionRequest(action_id=action_id))


async def execute(api: Any, session_id: int, action_id: int, **values: str) -> Any:
    request = pb.ExecuteActionRequest(session_id=session_id, action_id=action_id, input_values=values)
    return await api.control.ExecuteAction(request)


async def history(api: Any, session_id: int, limit: int = 0) -> list[Any]:
    request = pb.ListActionExecutionsRequest(session_id=session_id, limit=limit)
    return list((await api.control.ListActionExecutions(request)).executions)


@pytest.fixture
async def session_id(new_session: Any, uow: Any) -> int:
    """Give a running session of game 1, config 1 and deployment 1 on server 1."""
    session_id: int = await new_session()
    await become(uow, session_id, Status.RUNNING)
    return session_id


async def become(uow: Any, session_id: int, status: Status) -> None:
    async with uow() as tx:
        row = await tx.sessions.lock(session_id)
        await transitions.apply(tx, row, Change(status=status), now=row.created_at)
        await tx.commit()


@pytest.mark.usefixtures("session_id")
async def test_an_action_comes_back_as_it_was_told(api: Any) -> None:
    action_id = await create(api, {"label": "Change map", "requires_confirmation": True, "display_order": 2})

    answer = await get(api, action_id)

    assert (answer.action.label, answer.action.button_style, answer.action.requires_confirmation) == (
        "Change map",
        "primary",
        True,
    )
    assert answer.action.created_at > 0
    (field,) = answer.input_fields
    assert (field.name, field.required, field.field_id > 0, field.min_value) == ("map", True, True, 0)
    assert [(one.value, one.is_default, one.field_id) for one in field.options] == [
        ("de_dust2", True, field.field_id),
        ("de_inferno", False, field.field_id),
    ]
    assert list(answer.action.input_fields) == list(answer.input_fields)


@pytest.mark.usefixtures("session_id")
async def test_creating_it_again_replaces_it_and_updating_takes_what_get_gave(api: Any) -> None:
    action_id = await create(api)
    assert await create(api, {"label": "again", "enabled": False}) == action_id
    told = (await get(api, action_id)).action
    assert (told.label, told.enabled, told.input_fields[0].options[0].value) == ("again", False, "de_dust2")

    told.label = "by id"
    updated = await api.control.UpdateActionDefinition(pb.UpdateActionDefinitionRequest(action=told))

    again = (await get(api, action_id)).action
    assert (updated.success, again.label) == (True, "by id")
    assert [option.value for option in again.input_fields[0].options] == ["de_dust2", "de_inferno"]


@pytest.mark.usefixtures("session_id")
async def test_a_list_has_one_entity_or_all_also_disabled_ones_without_fields(api: Any) -> None:
    await create(api, {"name": "on", "display_order": 2})
    await create(api, {"name": "off", "display_order": 1, "enabled": False})
    await create(api, {"name": "config", "definition_level": "game_config"})
    await create(api, {"name": "deployment", "definition_level": "server_game_config"})

    async def names(**filters: int) -> list[str]:
        answer = await api.control.ListActionDefinitions(pb.ListActionDefinitionsRequest(**filters))
        assert [list(one.input_fields) for one in answer.actions] == [[] for _ in answer.actions]
        return [one.name for one in answer.actions]

    assert await names(game_id=1) == ["off", "on"]
    assert await names(game_id=2) == []
    assert await names(config_id=1) == ["config"]
    assert await names(sgc_id=1) == ["deployment"]
    assert await names(game_id=1, config_id=1) == ["off", "on"]
    assert await names() == ["config", "deployment", "off", "on"]


async def test_refusals_have_the_codes_that_clients_know(api: Any, session_id: int) -> None:
    control = api.control
    action_id = await create(api)
    await create(api, {"name": "other"})
    taken = action(action_id=action_id, name="other", command_template="x")
    refused = [
        (create(api, {"command_template": "{{.mapp}}"}), Code.INVALID_ARGUMENT, "{{.mapp}} is no input"),
        (create(api, {"name": "Change map"}), Code.INVALID_ARGUMENT, "action.name"),
        (create(api, {"definition_level": ""}), Code.INVALID_ARGUMENT, "action.definition_level"),
        (create(api, options=()), Code.INVALID_ARGUMENT, "input_fields[0].options"),
        (create(api, {"entity_id": 0}), Code.INVALID_ARGUMENT, "action.entity_id"),
        (
            control.UpdateActionDefinition(pb.UpdateActionDefinitionRequest(action=action())),
            Code.INVALID_ARGUMENT,
            "action.action_id",
        ),
        (create(api, {"entity_id": 9}), Code.NOT_FOUND, "game 9"),
        (create(api, {"entity_id": 9, "definition_level": "game_config"}), Code.NOT_FOUND, "game config 9"),
        (create(api, {"entity_id": 9, "definition_level": "server_game_config"}), Code.NOT_FOUND, "deployment 9"),
        (control.CreateActionDefinition(pb.CreateActionDefinitionRequest()), Code.INVALID_ARGUMENT, "action"),
        (
            control.UpdateActionDefinition(pb.UpdateActionDefinitionRequest(action=taken)),
            Code.ALREADY_EXISTS,
            "already exists",
        ),
        (
            control.UpdateActionDefinition(pb.UpdateActionDefinitionRequest(action=action(action_id=99))),
            Code.NOT_FOUND,
            "action 99",
        ),
        (get(api, 99), Code.NOT_FOUND, "action 99"),
        (get(api, 0), Code.INVALID_ARGUMENT, "action_id"),
        (control.GetSessionActions(pb.GetSessionActionsRequest(session_id=99)), Code.NOT_FOUND, "session 99"),
        (control.GetSessionActions(pb.GetSessionActionsRequest()), Code.INVALID_ARGUMENT, "session_id"),
        (history(api, 99), Code.NOT_FOUND, "session 99"),
        (execute(api, 99, action_id), Code.NOT_FOUND, "session 99"),
        (execute(api, session_id, 99), Code.NOT_FOUND, "action 99"),
        (execute(api, 0, 0), Code.INVALID_ARGUMENT, "session_id"),
    ]

    for call, code, words in refused:
        found, text = await api.refusal(call)
        assert (found, words in text) == (code, True), text


async def test_a_session_offers_what_is_its_own_while_it_runs(api: Any, uow: Any, session_id: int) -> None:
    await create(api, {"name": "deployment", "definition_level": "server_game_config"})
    await create(api)
    await create(api, {"name": "off", "enabled": False})
    request = pb.GetSessionActionsRequest(session_id=session_id)

    offered = (await api.control.GetSessionActions(request)).actions
    await become(uow, session_id, Status.STOPPING)
    later = (await api.control.GetSessionActions(request)).actions

    assert [one.name for one in offered] == ["change_map", "deployment"]
    assert [one.value for one in offered[0].input_fields[0].options] == ["de_dust2", "de_inferno"]
    assert list(later) == []


async def test_a_command_reaches_the_game_and_every_attempt_is_on_record(
    api: Any, session_id: int, amqp_url: str
) -> None:
    action_id = await create(api)
    async with console(amqp_url, 1) as heard:
        sent = await execute(api, session_id, action_id, map="de_inferno", unknown="x")
        wrong = await execute(api, session_id, action_id, map="de_dust2\nquit")
        missing = await execute(api, session_id, action_id)

    assert heard == [b"changelevel de_inferno\n"]
    assert (sent.success, sent.rendered_command, sent.error_message) == (True, "changelevel de_inferno", "")
    assert (wrong.success, wrong.rendered_command, "control characters" in wrong.error_message) == (False, "", True)
    assert (missing.success, missing.error_message) == (False, "Map (map): is required; fill it in")
    rows = await history(api, session_id)
    assert [(row.execution_id, row.status) for row in rows] == [
        (missing.execution_id, "validation_error"),
        (wrong.execution_id, "validation_error"),
        (sent.execution_id, "success"),
    ]
    assert (dict(rows[2].input_values), rows[2].rendered_command) == ({"map": "de_inferno"}, "changelevel de_inferno")
    assert (rows[2].action_name, rows[2].triggered_by != "", rows[2].executed_at > 0) == ("change_map", True, True)
    assert [row.execution_id for row in await history(api, session_id, limit=1)] == [missing.execution_id]
    await api.control.DeleteActionDefinition(pb.DeleteActionDefinitionRequest(action_id=action_id))
    assert [(row.action_id, row.action_name) for row in await history(api, session_id)] == [(0, "change_map")] * 3


async def test_what_a_host_refuses_or_does_not_answer_is_told_and_recorded(
    api: Any, session_id: int, amqp_url: str
) -> None:
    action_id = await create(api, fields=(), options=(), columns={"command_template": "quit"})

    async def without_host() -> bool:
        return "no command queue" in (await execute(api, session_id, action_id)).error_message

    await eventually(without_host, timeout_s=10)
    async with console(amqp_url, 1, refusal="no stdin"):
        refused = await execute(api, session_id, action_id)
    silent = await execute(api, session_id, action_id)

    assert (refused.success, refused.rendered_command, "no stdin" in refused.error_message) == (False, "quit", True)
    assert (silent.success, "no reply" in silent.error_message) == (False, True)
    rows = await history(api, session_id)
    assert {row.status for row in rows} == {"failed"}
    assert [row.error_message for row in rows[:2]] == [silent.error_message, refused.error_message]


async def test_a_caller_that_hangs_up_leaves_a_record_that_says_so(api: Any, session_id: int, amqp_url: str) -> None:
    action_id = await create(api, fields=(), options=(), columns={"command_template": "quit"})
    request = pb.ExecuteActionRequest(session_id=session_id, action_id=action_id)

    async def is_on_record() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await api.control.ExecuteAction(request, timeout=0.3)
        return OUTCOME_UNKNOWN in [row.error_message for row in await history(api, session_id)]

    async with connect(BusSettings(rabbitmq_url=amqp_url), "host") as broker:
        await topology.declare_host_command_queue(broker, 1)
        await eventually(is_on_record, timeout_s=10)


async def test_only_an_action_of_the_sessions_own_list_is_run(api: Any, uow: Any, session_id: int) -> None:
    async with uow() as tx:
        stranger = await tx.games.add(name="other game")
        await tx.commit()
    foreign = await create(api, {"entity_id": stranger.game_id})
    disabled = await create(api, {"name": "off", "enabled": False})
    own = await create(api)

    assert "something else" in (await api.refusal(execute(api, session_id, foreign, map="de_dust2")))[1]
    assert "is disabled" in (await api.refusal(execute(api, session_id, disabled, map="de_dust2")))[1]
    await become(uow, session_id, Status.STOPPING)
    code, text = await api.refusal(execute(api, session_id, own, map="de_dust2"))

    assert (code, "is stopping" in text) == (Code.FAILED_PRECONDITION, True)
    assert await history(api, session_id) == []


async def test_a_command_longer_than_any_input_is_not_sent(api: Any, session_id: int) -> None:
    text = pb.ActionInputField(name="t", field_type="text")
    action_id = await create(api, {"command_template": "{{.t}}" * 20}, fields=(text,), options=())

    done = await execute(api, session_id, action_id, t="x" * 4096)

    assert (done.success, "longer than 65536" in done.error_message) == (False, True)


async def test_deleting_the_unknown_is_fine(api: Any) -> None:
    assert (await api.control.DeleteActionDefinition(pb.DeleteActionDefinitionRequest(action_id=99))).success


async def test_rest_has_the_same_actions(api: Any, session_id: int, amqp_url: str) -> None:
    base = f"http://127.0.0.1:{api.addresses.rest}/v1"
    body = {
        "action": {
            "definition_level": "game",
            "entity_id": "1",
            "name": "say",
            "command_template": "say {{.text}}{{if .loud}}!{{end}}",
            "enabled": True,
            "input_fields": [
                {"name": "text", "field_type": "text", "max_length": 5},
                {"name": "loud", "field_type": "checkbox"},
            ],
        }
    }
    async with httpx2.AsyncClient(trust_env=False) as client, console(amqp_url, 1) as heard:
        action_id = (await client.post(f"{base}/actions", json=body)).json()["action_id"]
        offered = (await client.get(f"{base}/sessions/{session_id}/actions")).json()["actions"]
        run = f"{base}/sessions/{session_id}/actions/{action_id}:execute"
        good = await client.post(run, json={"input_values": {"text": "hällo", "loud": "true"}})
        bad = await client.post(run, json={"input_values": {"text": "hello!"}})
        executions = (await client.get(f"{base}/sessions/{session_id}/action-executions")).json()["executions"]
        body["action"]["label"] = "Say"
        updated = await client.put(f"{base}/actions/{action_id}", json=body)
        listed = (await client.get(f"{base}/actions", params={"game_id": "1"})).json()["actions"]
        deleted = await client.delete(f"{base}/actions/{action_id}")
        gone = await client.get(f"{base}/actions/{action_id}")

    assert [(one["action_id"], len(one["input_fields"])) for one in offered] == [(action_id, 2)]
    assert (good.status_code, good.json()["success"], heard) == (200, True, ["say hällo!\n".encode()])
    assert (bad.status_code, bad.json()["success"]) == (200, False)
    assert [one["status"] for one in executions] == ["validation_error", "success"]
    assert (updated.status_code, listed[0]["label"]) == (200, "Say")
    assert (deleted.status_code, gone.status_code) == (200, 404)


async def test_the_example_of_the_documentation_works(api: Any, session_id: int, amqp_url: str) -> None:
    definition, inputs = re.findall(r"-d '(\{.*?\})'\n", PAGE, re.DOTALL)
    base = f"http://127.0.0.1:{api.addresses.rest}/v1"
    headers = {"content-type": "application/json"}

    async with httpx2.AsyncClient(trust_env=False, headers=headers) as client, console(amqp_url, 1) as heard:
        action_id = (await client.post(f"{base}/actions", content=definition)).json()["action_id"]
        run = await client.post(f"{base}/sessions/{session_id}/actions/{action_id}:execute", content=inputs)

    assert run.json()["success"]
    assert "The game reads `changelevel de_dust2 hard` and a line end." in PAGE
    assert heard == [b"changelevel de_dust2 hard\n"]
