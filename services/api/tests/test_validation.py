"""The rules in the protos: they compile, they name the field, and they leave partial updates alone."""

import re
from pathlib import Path

import pytest
from google.protobuf.message import Message

from manman.errors import Problem
from manman.rpc.services import type_of
from manman.v1 import (
    actions_pb2,
    api_pb2,
    game_configs_pb2,
    games_pb2,
    log_processor_pb2,
    logs_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    values_pb2,
    volumes_pb2,
    workshop_pb2,
)
from manman_api.validation import WHAT_TO_WRITE, request_rules

problems_of = request_rules()
METHODS = [
    method
    for file in (api_pb2, workshop_pb2, log_processor_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_rules_of_every_request_compile(method: object) -> None:
    problems_of(type_of(method.input_type)())  # type: ignore[attr-defined] # the stubs do not know message classes


def fields(message: Message) -> list[str]:
    return [problem.field for problem in problems_of(message)]


def test_a_problem_names_the_field_by_its_path() -> None:
    binding = values_pb2.PortBinding(container_port=1, host_port=70000)
    request = server_game_configs_pb2.DeployGameConfigRequest(server_id=1, game_config_id=1, port_bindings=[binding])
    assert fields(request) == ["port_bindings[0].host_port"]


def test_an_automatic_port_and_a_protocol_in_any_case_are_right() -> None:
    bindings = [values_pb2.PortBinding(container_port=1, protocol=text) for text in ("", "tcp", "UDP", "Tcp")]
    request = server_game_configs_pb2.DeployGameConfigRequest(server_id=1, game_config_id=1, port_bindings=bindings)
    assert fields(request) == []


@pytest.mark.parametrize(
    "request_",
    [
        servers_pb2.UpdateServerRequest(server_id=1, is_default=True, update_paths=["is_default"]),
        games_pb2.UpdateGameRequest(game_id=1, steam_app_id="1"),
        game_configs_pb2.UpdateGameConfigRequest(config_id=1, update_paths=["env_template"]),
        server_game_configs_pb2.UpdateServerGameConfigRequest(server_game_config_id=1, status="active"),
        sessions_pb2.ListSessionsRequest(page_size=-1),
        servers_pb2.RegisterServerRequest(name="host"),
        server_game_configs_pb2.ValidateDeploymentRequest(port_bindings=[values_pb2.PortBinding(container_port=99999)]),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_request_that_says_only_what_it_must_is_right(request_: Message) -> None:
    assert fields(request_) == []


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (servers_pb2.GetServerRequest(), ["server_id"]),
        (servers_pb2.UpdateServerRequest(server_id=1, status="asleep"), ["status"]),
        (sessions_pb2.ListSessionsRequest(status_filter=["running", "dead"]), ["status_filter[1]"]),
        (volumes_pb2.CreateGameConfigVolumeRequest(config_id=1, name="a", container_path="data"), ["container_path"]),
        (logs_pb2.GetHistoricalLogsRequest(start_timestamp=2, end_timestamp=1), ["request"]),
        (actions_pb2.CreateActionDefinitionRequest(), ["action"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_request_is_refused_by_the_field(request_: Message, expected: list[str]) -> None:
    assert fields(request_) == expected


def test_a_text_with_a_zero_character_is_refused_wherever_it_stands() -> None:
    request = game_configs_pb2.CreateGameConfigRequest(
        game_id=1,
        name="a",
        image="b",
        command=["ok", "\x00"],
        env_template={"A": "b\x00"},
        files=[values_pb2.FileTemplate(path="/a", content="\x00")],
    )
    assert sorted(fields(request)) == ["command", "env_template", "files.content"]


def test_bytes_may_hold_zeros() -> None:
    assert problems_of(sessions_pb2.SendInputRequest(session_id=1, input=b"\x00")) == list[Problem]()


def test_every_pattern_of_the_protos_has_words_for_people() -> None:
    protos = Path(__file__).resolve().parents[3] / "proto/manman/v1"
    texts = [path.read_text() for path in protos.glob("*.proto")]
    patterns = {found for text in texts for found in re.findall(r'pattern = "([^"]+)"', text)}
    assert patterns == set(WHAT_TO_WRITE)


def test_a_pattern_is_explained_and_not_shown() -> None:
    binding = values_pb2.PortBinding(container_port=1, protocol="QUIC")
    request = server_game_configs_pb2.DeployGameConfigRequest(server_id=1, game_config_id=1, port_bindings=[binding])
    assert problems_of(request) == [Problem("port_bindings[0].protocol", "use TCP or UDP")]
