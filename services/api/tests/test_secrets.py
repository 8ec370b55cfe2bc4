"""Secrets stay in answers, for those who may ask; in records, refusals and the log they are hidden."""

from typing import Any

import grpc
import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.parameters import MASK
from manman.domain.sessions import Status
from manman.v1 import actions_pb2, configuration_pb2, game_configs_pb2, games_pb2, servers_pb2, sessions_pb2
from manman.v1 import server_game_configs_pb2 as deployments_pb2
from manman.v1.values_pb2 import Parameter

OF_DEPLOYMENT, OF_SESSION = "sesame open", "swordfish"


@pytest.fixture
async def deployment_id(api: Any) -> int:
    """Give a deployment of game 1 that sets its secret."""
    control = api.control
    await control.RegisterServer(servers_pb2.RegisterServerRequest(name="h", features=["config_files"]))
    await control.CreateGame(games_pb2.CreateGameRequest(name="g"))
    config = game_configs_pb2.CreateGameConfigRequest(
        game_id=1, name="c", image="game:1", parameters=[Parameter(key="pw", type="secret", required=True)]
    )
    await control.CreateGameConfig(config)
    deploy = deployments_pb2.DeployGameConfigRequest(server_id=1, game_config_id=1, parameters={"pw": OF_DEPLOYMENT})
    answer = await control.DeployGameConfig(deploy)
    assert dict(answer.config.parameters) == {"pw": OF_DEPLOYMENT}
    return int(answer.config.server_game_config_id)


async def start(api: Any, deployment_id: int, secret: str = OF_SESSION) -> Any:
    request = sessions_pb2.StartSessionRequest(server_game_config_id=deployment_id, parameters={"pw": secret})
    return (await api.control.StartSession(request)).session


async def test_the_record_of_an_action_has_no_secret_and_its_answer_is_whole(
    api: Any, uow: Any, deployment_id: int
) -> None:
    session = await start(api, deployment_id)
    assert dict(session.parameters) == {"pw": OF_SESSION}
    async with uow() as tx:
        row = await tx.sessions.lock(session.session_id)
        await transitions.apply(tx, row, Change(status=Status.RUNNING), now=row.created_at)
        await tx.commit()
    action = actions_pb2.ActionDefinition(
        definition_level="game", entity_id=1, name="login", command_template="login {{.as}} was {{.was}}", enabled=True
    )
    fields = [actions_pb2.ActionInputField(name=name, field_type="text") for name in ("as", "was")]
    made = await api.control.CreateActionDefinition(
        actions_pb2.CreateActionDefinitionRequest(action=action, input_fields=fields)
    )
    run = actions_pb2.ExecuteActionRequest(
        session_id=session.session_id,
        action_id=made.action_id,
        input_values={"as": f"ann:{OF_SESSION}", "was": OF_DEPLOYMENT},
    )

    answer = await api.control.ExecuteAction(run)

    assert answer.rendered_command == f"login ann:{OF_SESSION} was {OF_DEPLOYMENT}"
    asked = actions_pb2.ListActionExecutionsRequest(session_id=session.session_id)
    (kept,) = (await api.control.ListActionExecutions(asked)).executions
    assert kept.rendered_command == f"login ann:{MASK} was {MASK}"
    assert dict(kept.input_values) == {"as": f"ann:{MASK}", "was": MASK}
    assert "swordfish" not in str(kept)


SPOILED = {
    "file_properties": ("template", "a={{pw}}", "x\nswordfish"),
    "env_vars": ("template", "A={{pw}}", "x\nswordfish"),
    "file_xml": ("xpath", "/a/b={{pw}}", "x\nswordfish"),
    "file_json": ("json_patch", '[{"op": "remove", "path": "/{{pw}}"}]', "swordfish"),
}


@pytest.mark.parametrize("strategy_type", SPOILED)
async def test_a_configuration_that_a_secret_spoils_is_refused_without_it(
    api: Any, capsys: pytest.CaptureFixture[str], deployment_id: int, strategy_type: str
) -> None:
    patch_format, content, secret = SPOILED[strategy_type]
    strategy = configuration_pb2.CreateConfigurationStrategyRequest(
        game_id=1,
        name="s",
        strategy_type=strategy_type,
        target_path="/a",
        base_template={"file_json": "{}", "file_xml": "<a/>"}.get(strategy_type, ""),
    )
    await api.control.CreateConfigurationStrategy(strategy)
    patch = configuration_pb2.CreateConfigurationPatchRequest(
        strategy_id=1, patch_level="game_config", entity_id=1, patch_content=content, patch_format=patch_format
    )
    await api.control.CreateConfigurationPatch(patch)

    code, text = await api.refusal(start(api, deployment_id, secret))

    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "patch 1 of level game_config" in text
    assert "swordfish" not in text
    logged = capsys.readouterr()
    assert "call_refused" in logged.out + logged.err
    assert "swordfish" not in logged.out + logged.err
