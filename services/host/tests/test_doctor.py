"""The doctor on real parts, and with each of them missing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from manman import clock
from manman.rpc import access
from manman.rpc.chain import Chain
from manman.rpc.server import SERVER_TIME_KEY, serve
from manman.rpc.services import Service
from manman.v1 import api_pb2, api_pb2_grpc, sessions_pb2
from manman_host import doctor
from manman_host.examination_of_machine import GIBI, judge_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conftest import World


class Api(api_pb2_grpc.ManManAPIServicer):
    """Knows one session."""

    async def GetSession(self, request: object, context: object) -> sessions_pb2.GetSessionResponse:
        return sessions_pb2.GetSessionResponse()


class WrongClock(api_pb2_grpc.ManManAPIServicer):
    """An API whose clock is wrong."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    async def GetSession(self, request: object, context: Any) -> sessions_pb2.GetSessionResponse:
        context.set_trailing_metadata(((SERVER_TIME_KEY, (clock.now() + self._ahead).isoformat()),))
        return sessions_pb2.GetSessionResponse()


@contextlib.asynccontextmanager
async def api(token: str = "") -> AsyncIterator[str]:
    """Serve an API that lets in who has that token; give its address."""
    service = Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], Api())
    async with serve([service], Chain(access.authenticate_by_token(token)), address="127.0.0.1:0") as listening:
        yield listening.address


async def examined(world: World, **variables: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the doctor as people do; return its exit code, and level and text by what they are about."""
    environment = {**os.environ, **world.variables, "PORT_RANGE": "28990-28993", **variables}  # noqa: TID251 - a child of the test
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "manman_host", doctor.COMMAND, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    lines = [line.split(maxsplit=1) for line in output.decode().splitlines()]
    found = {about: (level, text) for level, rest in lines for about, _, text in [rest.partition(": ")]}
    return process.returncode or 0, found


async def test_where_nothing_is_wrong_every_line_says_ok_and_nothing_is_left(world: World) -> None:
    async with api("secret") as address:
        code, found = await examined(world, API_ADDRESS=address, GRPC_AUTH_TOKEN="secret")
    assert {about: level for about, (level, _) in found.items() if level != "ok"} in ({}, {"disk": "warn"})
    assert code == 0
    machine = {"engine", "engine restart", "wrapper image", "data folder", "same folder", "disk", "ports"}
    assert set(found) == machine | {"broker", "API", "API token", "clock"}
    assert not list(world.folder.iterdir())
    assert not world.containers()


async def test_an_absent_engine_is_named_with_what_to_do(world: World, tmp_path: Path) -> None:
    async with api() as address:
        code, found = await examined(world, API_ADDRESS=address, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert found["engine"] == (
        "fail",
        f"there is no {tmp_path}/none.sock: install and start Docker, or set DOCKER_HOST",
    )
    assert (code, found["same folder"][0], found["API"][0], found["ports"][0]) == (1, "warn", "ok", "ok")


async def test_a_socket_that_nobody_serves_is_told_from_a_missing_one(world: World, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    code, found = await examined(world, DOCKER_HOST=f"unix://{tmp_path}/dead.sock")
    assert code == 1
    assert found["engine"][0] == "fail"
    assert "nobody answers" in found["engine"][1]


async def test_absent_broker_api_and_wrapper_image_are_each_named(world: World) -> None:
    code, found = await examined(
        world,
        RABBITMQ_URL="amqp://guest:hidden-word@127.0.0.1:1/",
        API_ADDRESS="127.0.0.1:1",
        WRAPPER_IMAGE="no-such-wrapper:1",
    )
    assert code == 1
    assert {about for about, (level, _) in found.items() if level == "fail"} == {"broker", "API", "wrapper image"}
    assert "RABBITMQ_URL" in found["broker"][1]
    assert "hidden-word" not in found["broker"][1]
    assert "API_ADDRESS" in found["API"][1]
    assert found["same folder"][0] == "warn"


async def test_a_refused_token_says_which_setting_is_wrong(world: World) -> None:
    async with api("right") as address:
        code, found = await examined(world, API_ADDRESS=address, GRPC_AUTH_TOKEN="wrong")
    assert (code, found["API token"][0], found["clock"][0]) == (1, "fail", "ok")
    assert "GRPC_AUTH_TOKEN" in found["API token"][1]


@pytest.mark.parametrize(("ahead_s", "level", "word"), [(8, "warn", "behind"), (-900, "fail", "ahead of")])
async def test_clocks_that_are_apart_are_told_which_way(world: World, ahead_s: int, level: str, word: str) -> None:
    server = grpc.aio.server()
    api_pb2_grpc.add_ManManAPIServicer_to_server(WrongClock(timedelta(seconds=ahead_s)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        code, found = await examined(world, API_ADDRESS=f"127.0.0.1:{port}")
    finally:
        await server.stop(0)
    assert found["clock"][0] == level
    assert word in found["clock"][1]
    assert code == (level == "fail")


async def test_a_folder_that_the_engine_sees_elsewhere_is_found_out(world: World, tmp_path: Path) -> None:
    code, found = await examined(world, HOST_DATA_DIR="/var/empty-of-ours", DATA_DIR_INTERNAL=str(world.folder))
    assert (code, found["data folder"][0], found["same folder"][0]) == (1, "ok", "fail")
    code, found = await examined(world, HOST_DATA_DIR=str(tmp_path), DATA_DIR_INTERNAL=str(world.folder))
    assert found["same folder"][0] == "fail"
    assert "sees another folder" in found["same folder"][1]


async def test_a_folder_that_cannot_be_written_to_is_named(world: World) -> None:
    code, found = await examined(world, HOST_DATA_DIR="/proc/manman")
    assert (code, found["data folder"][0]) == (1, "fail")
    assert "/proc/manman" in found["data folder"][1]


async def test_taken_ports_are_named_but_not_those_of_our_own_games(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("0.0.0.0", 28991))  # noqa: S104 - as a game would
        world.engine.containers.run(
            world.image,
            ["sleep", "60"],
            detach=True,
            init=True,
            ports={"9/tcp": 28992},
            labels={"manman.managed_by": "manman-host", "manman.environment": world.environment},
        )
        _, found = await examined(world)
    assert found["ports"][0] == "warn"
    assert found["ports"][1].startswith("28991/UDP are taken")


@pytest.mark.parametrize(("free_bytes", "level"), [(10 * GIBI, "ok"), (2 * GIBI, "warn"), (GIBI // 2, "fail")])
def test_a_disk_that_fills_up_is_told_in_time(free_bytes: int, level: str) -> None:
    assert judge_disk(free_bytes, "/srv").level == level


async def test_bad_settings_are_findings_too(world: World) -> None:
    code, found = await examined(world, HOST_DATA_DIR="/" + "long" * 30, PORT_RANGE="9-1")
    assert code == 1
    assert {level for level, _ in found.values()} == {"fail"}
