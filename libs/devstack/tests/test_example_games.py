"""The example games are what they say they are: bodies the API accepts, templates without loose ends."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import protovalidate
import pytest
import yaml
from google.protobuf.json_format import ParseDict

from manman.domain import parameters, rendering
from manman.v1 import game_configs_pb2, games_pb2, server_game_configs_pb2, volumes_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

GAMES = pathlib.Path(__file__).parents[3] / "examples" / "games"
NAMES = sorted(file.parent.name for file in GAMES.glob("*/game.yaml"))

pytestmark = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((GAMES / name / "game.yaml").read_text())


def test_every_part_is_a_valid_request_body(name: str) -> None:
    document = read(name)

    bodies: list[tuple[dict[str, Any], Message]] = [
        (document["game"], games_pb2.CreateGameRequest()),
        ({**document["config"], "game_id": 1}, game_configs_pb2.CreateGameConfigRequest()),
        *(({**volume, "config_id": 1}, volumes_pb2.CreateGameConfigVolumeRequest()) for volume in document["volumes"]),
        (
            {**document["deployment"], "server_id": 1, "game_config_id": 1},
            server_game_configs_pb2.DeployGameConfigRequest(),
        ),
    ]
    for body, message in bodies:
        protovalidate.validate(ParseDict(body, message))


def test_every_placeholder_is_a_declared_parameter_with_a_valid_default(name: str) -> None:
    document = read(name)
    config = ParseDict(document["config"], game_configs_pb2.CreateGameConfigRequest())
    declared = [
        parameters.Declared(
            key=parameter.key,
            type=parameter.type,
            required=parameter.required,
            default_value=parameter.default_value,
            min_value=parameter.min_value if parameter.HasField("min_value") else None,
            max_value=parameter.max_value if parameter.HasField("max_value") else None,
            allowed_values=tuple(parameter.allowed_values),
        )
        for parameter in config.parameters
    ]
    parameters.check_declared(declared)

    resolved = parameters.resolve(declared, [document["deployment"]["parameters"]])

    assert not resolved.warnings
    texts = [*config.command, *config.env_template.values(), *(file.content for file in config.files)]
    for text in texts:
        assert rendering.placeholders(text) <= set(resolved.values)


def test_every_file_lies_in_a_volume_so_that_a_host_can_write_it(name: str) -> None:
    document = read(name)
    roots = [volume["container_path"] + "/" for volume in document["volumes"]]

    for file in document["config"]["files"]:
        assert any(file["path"].startswith(root) for root in roots), file["path"]


def test_the_image_builds_with_the_classic_builder_and_runs_without_root(name: str) -> None:
    dockerfile = (GAMES / name / "Dockerfile").read_text()

    assert dockerfile.count("FROM debian:bookworm-slim") == 1
    for modern in ("# syntax=", "--mount=", "--chmod=", "<<"):
        assert modern not in dockerfile
    assert "USER game" in dockerfile
