from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from manman.domain.capabilities import DEFAULT
from manman.errors import Invalid
from manman.messages.commands import (
    File,
    GameConfig,
    Isolation,
    PortBinding,
    Resources,
    ServerGameConfig,
    StartSession,
    Volume,
)
from manman_host.container_spec import TMP, PlannedFile, SessionPlan, plan_session
from manman_host.identity import Identity

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IDENTITY = Identity(7, "box", "dev", UUID(int=1))


def plan(identity: Identity = IDENTITY, ports: list[PortBinding] | None = None, **config: Any) -> SessionPlan:
    top = {
        key: config.pop(key)
        for key in ("resources", "stop_timeout_seconds", "stop_signal", "isolation")
        if key in config
    }
    command = StartSession(
        session_id=812,
        sgc_id=41,
        game_config=GameConfig(config_id=9, image="game:1", **config),
        server_game_config=ServerGameConfig(sgc_id=41, port_bindings=ports or []),
        **top,
    )
    return plan_session(command, identity, data_dir=Path("/srv/mm"), now=NOW)


def test_names_hold_environment_server_and_deployment() -> None:
    planned = plan()
    assert planned.game.container_name == "game-dev-7-41"
    assert planned.wrapper_name == "wrapper-dev-7-41"
    assert planned.network == "session-dev-812"


def test_names_without_environment_have_no_empty_part() -> None:
    planned = plan(identity_with(environment=""))
    assert planned.game.container_name == "game-7-41"
    assert planned.network == "session-812"


def identity_with(**changes: Any) -> Identity:
    values = {field: getattr(IDENTITY, field) for field in ("server_id", "name", "environment", "boot_id")}
    return Identity(**{**values, **changes})


def test_labels_tell_whose_a_game_is() -> None:
    labels = dict(plan().game.labels)
    assert labels == {
        "manman.type": "game",
        "manman.managed_by": "manman-host",
        "manman.session_id": "812",
        "manman.sgc_id": "41",
        "manman.server_id": "7",
        "manman.environment": "dev",
        "manman.host_boot_id": str(UUID(int=1)),
        "manman.created_at": "2026-01-02T03:04:05+00:00",
        "manman.wrapper_id": "wrapper-dev-7-41",
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, []),
        ({"args_template": "run --fast"}, ["/bin/sh", "-c", "run --fast"]),
        ({"command": ["run"], "args_template": "ignored"}, ["run"]),
    ],
)
def test_a_command_wins_over_arguments_for_the_shell(config: dict[str, Any], expected: list[str]) -> None:
    assert list(plan(**config).game.command) == expected


def test_ports_of_both_protocols_are_kept() -> None:
    ports = [
        PortBinding(container_port=3979, host_port=27000, protocol="tcp"),
        PortBinding(container_port=3979, host_port=27000, protocol="UDP"),
    ]
    found = [(port.container_port, port.host_port, port.protocol) for port in plan(ports=ports).game.ports]
    assert found == [(3979, 27000, "TCP"), (3979, 27000, "UDP")]


def test_limits_are_in_the_engines_units() -> None:
    game = plan(resources=Resources(memory_mb=512, cpu_millicores=1500, pids=64)).game
    assert (game.memory_bytes, game.nano_cpus, game.pids_limit) == (512 * 1024 * 1024, 1_500_000_000, 64)


def test_a_game_without_a_limit_of_its_own_gets_the_hosts_limit_of_processes() -> None:
    command = StartSession(
        session_id=1,
        sgc_id=2,
        game_config=GameConfig(config_id=3, image="game:1"),
        server_game_config=ServerGameConfig(sgc_id=2),
    )
    assert plan_session(command, IDENTITY, data_dir=Path("/d"), now=NOW, default_pids=1024).game.pids_limit == 1024


def test_a_read_only_root_comes_with_a_tmp_in_memory_unless_a_volume_is_there() -> None:
    assert not plan().game.tmpfs
    sealed = plan(isolation=Isolation(read_only_root=True, init=True)).game
    assert (sealed.read_only_root, sealed.init, list(sealed.tmpfs)) == (True, True, [TMP])
    mounted = [Volume(name="scratch", container_path=f"{TMP}/")]
    assert not plan(isolation=Isolation(read_only_root=True), volumes=mounted).game.tmpfs


def test_a_game_has_the_capabilities_that_its_config_says_and_no_other() -> None:
    assert list(plan().game.capabilities) == sorted(DEFAULT)
    only = plan(isolation=Isolation(no_capabilities=True, extra_capabilities=["NET_RAW"])).game
    assert list(only.capabilities) == ["NET_RAW"]


def test_volumes_become_folders_of_the_deployment_or_named_volumes() -> None:
    planned = plan(
        volumes=[
            Volume(name="data", container_path="/data", host_subpath="saves/a", options={"read_only": True}),
            Volume(name="cfg", container_path="/etc/game"),
            Volume(name="cache", container_path="/cache", volume_type="named"),
        ]
    )
    assert [(mount.type, mount.source, mount.target, mount.read_only) for mount in planned.game.mounts] == [
        ("bind", "/srv/mm/sgc-dev-41/saves/a", "/data", True),
        ("bind", "/srv/mm/sgc-dev-41/cfg", "/etc/game", False),
        ("volume", "manman-sgc-dev-41-cache", "/cache", False),
    ]
    assert planned.folders == ("sgc-dev-41/saves/a", "sgc-dev-41/cfg")
    assert planned.volumes == ("manman-sgc-dev-41-cache",)


def test_a_file_goes_into_the_volume_with_the_longest_fitting_path() -> None:
    planned = plan(
        volumes=[
            Volume(name="root", container_path="/srv"),
            Volume(name="inner", container_path="/srv/conf", volume_type="named"),
        ],
        files=[File(path="/srv/conf/a/b.cfg", content="x", mode="0600"), File(path="/srv/confused.cfg", content="y")],
    )
    assert planned.files == (
        PlannedFile("named", "manman-sgc-dev-41-inner", "a/b.cfg", "x", 0o600),
        PlannedFile("bind", "sgc-dev-41/root", "confused.cfg", "y", 0o644),
    )


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"volumes": [Volume(name="a", container_path="data")]}, "volumes[0].container_path"),
        ({"volumes": [Volume(name="a", container_path="/data/../etc")]}, "volumes[0].container_path"),
        ({"volumes": [Volume(name="a", container_path="/")]}, "volumes[0].container_path"),
        ({"volumes": [Volume(name="a", container_path="/d", host_subpath="../b")]}, "volumes[0].host_subpath"),
        ({"volumes": [Volume(name="a", container_path="/d", host_subpath="/b")]}, "volumes[0].host_subpath"),
        ({"volumes": [Volume(name="a/b", container_path="/d", volume_type="named")]}, "volumes[0].name"),
        ({"volumes": [Volume(name="a", container_path="/d", volume_type="nfs")]}, "volumes[0].volume_type"),
        ({"volumes": [Volume(name="a", container_path="/d"), Volume(name="b", container_path="/d")]}, "volumes[1]"),
        ({"files": [File(path="/nowhere/x")]}, "files[0].path"),
        (
            {"volumes": [Volume(name="a", container_path="/d")], "files": [File(path="/d/x", merge="x")]},
            "files[0].merge",
        ),
        ({"volumes": [Volume(name="a", container_path="/d")], "files": [File(path="/d/../x")]}, "files[0].path"),
        (
            {"volumes": [Volume(name="a", container_path="/d")], "files": [File(path="/d/x", mode="rw")]},
            "files[0].mode",
        ),
        ({"isolation": Isolation(extra_capabilities=["SYS_ADMIN"])}, "isolation.extra_capabilities[0]"),
        ({"ports": [PortBinding(container_port=0, host_port=1)]}, "port_bindings[0]"),
        ({"ports": [PortBinding(container_port=1, host_port=70000)]}, "port_bindings[0]"),
        ({"ports": [PortBinding(container_port=1, host_port=1, protocol="SCTP")]}, "port_bindings[0].protocol"),
    ],
)
def test_what_cannot_be_is_refused_by_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan(**config)
    assert any(field in problem.field for problem in caught.value.problems)
