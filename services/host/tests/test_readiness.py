"""When players can come, and when a game hangs: by its lines, and by its own answers on a real network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from manman.messages.commands import Readiness
from manman_devstack import images
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import HostProcess, World

SOURCE_SERVER = """
import socket, sys, threading
def answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as game:
        game.bind(("0.0.0.0", 27015))
        while not deaf:
            query, peer = game.recvfrom(2048)
            if query[4:].startswith(b"TSource Engine Query"):
                challenged = query.endswith(b"1234")
                game.sendto(b"\\xff" * 4 + (b"I\\x11test" if challenged else b"A1234"), peer)
        threading.Event().wait()
deaf = []
print("loading", flush=True)
for line in sys.stdin:
    if line == "listen\\n":
        threading.Thread(target=answer, daemon=True).start()
    if line == "deaf\\n":
        deaf.append(line)
    if line == "quit\\n":
        sys.exit(0)
"""
TCP_SERVER = """
import socket, sys
print("loading", flush=True)
sys.stdin.readline()
listening = socket.create_server(("0.0.0.0", 7000))
sys.stdin.read()
"""
A2S = {"query": "a2s", "port": 27015}


@pytest.fixture(autouse=True)
def quick(world: World) -> None:
    world.variables["QUERY_INTERVAL_SECONDS"] = "0.2"


def python(script: str) -> dict[str, Any]:
    """Run a Python script as the game, on the one image here that has Python."""
    return {"image": images.WRAPPER, "entrypoint": ["python", "-u", "-c", script], "command": []}


def phases(world: World) -> list[str]:
    return [report.phase for report in world.reports if report.status == "running"]


@pytest.mark.usefixtures("host_here")
async def test_a_line_that_matches_the_pattern_makes_a_running_session_ready(world: World) -> None:
    script = "echo Done loading; read go; echo '[12:00] Done (3.2s)!'; cat"
    await world.start(script=script, readiness=Readiness(pattern=r"\] Done \("))
    await world.reported("running")
    await world.lines_until("Done loading")
    assert phases(world) == [""]
    await world.type("go\n")
    ready = await world.reported("running", count=2)
    assert (ready.phase, ready.container_id) == ("ready", world.game().id)
    await eventually(lambda: [item.phase for item in world.heartbeats[-1].sessions or ()] == ["ready"])
    await world.stop(force=True)
    assert (await world.reported("stopped")).phase == ""


@pytest.mark.usefixtures("host_here")
async def test_without_a_pattern_and_a_query_nobody_says_ready(world: World) -> None:
    await world.start()
    await world.reported("running")
    await world.type("hello\n")
    await world.lines_until("got hello")
    await world.stop(force=True)
    await world.reported("stopped")
    assert phases(world) == [""]


@pytest.mark.usefixtures("host_here")
async def test_a_game_that_listens_is_ready_though_its_port_is_published_to_nobody(world: World) -> None:
    await world.start(config=python(TCP_SERVER), readiness=Readiness(query="tcp", port=7000))
    await world.reported("running")
    await world.lines_until("loading")
    assert phases(world) == [""]
    await world.type("listen\n")
    assert (await world.reported("running", count=2)).phase == "ready"


@pytest.mark.usefixtures("host_here")
async def test_a_game_that_freezes_is_ended_and_has_crashed_for_hanging(world: World) -> None:
    readiness = Readiness(**A2S, liveness_limit_seconds=1)
    await world.start(config=python(SOURCE_SERVER), readiness=readiness, stop_command="quit", stop_timeout_seconds=2)
    await world.reported("running")
    await world.type("listen\n")
    assert (await world.reported("running", count=2)).phase == "ready"
    world.game().kill(signal="SIGSTOP")
    stopping = await world.reported("stopping")
    assert stopping.reason == "hung"
    assert re.fullmatch(r"the game did not answer for \d+ s", stopping.message)
    crashed = await world.reported("crashed")
    assert (crashed.reason, crashed.exit_code) == ("hung", 137)
    await world.clean()


@pytest.mark.usefixtures("host_here")
async def test_a_game_that_fell_silent_may_still_save_its_world_and_has_crashed_all_the_same(world: World) -> None:
    readiness = Readiness(**A2S, liveness_limit_seconds=1)
    await world.start(config=python(SOURCE_SERVER), readiness=readiness, stop_command="quit", stop_timeout_seconds=10)
    await world.reported("running")
    await world.type("listen\n")
    await world.reported("running", count=2)
    await world.type("deaf\n")
    crashed = await world.reported("crashed")
    assert (crashed.reason, crashed.exit_code, crashed.final_status) == ("hung", 0, "")


@pytest.mark.usefixtures("host_here")
async def test_without_a_limit_a_frozen_game_is_left_alone(world: World) -> None:
    await world.start(config=python(SOURCE_SERVER), readiness=Readiness(**A2S))
    await world.reported("running")
    await world.type("listen\n")
    await world.reported("running", count=2)
    world.game().kill(signal="SIGSTOP")
    seen = len(world.heartbeats)
    await eventually(lambda: len(world.heartbeats) > seen + 10, timeout_s=20)
    assert world.reports[-1].status == "running"


async def test_a_line_that_came_while_the_host_was_dead_makes_the_session_ready(
    world: World, host: HostProcess
) -> None:
    await world.start(script="read go; echo Done; cat", readiness=Readiness(pattern="^Done$"))
    await world.reported("running")
    await host.kill()
    stdin = world.game().attach_socket(params={"stdin": 1, "stream": 1})
    stdin._sock.sendall(b"go\n")
    stdin._sock.close()
    stdin.close()
    await eventually(lambda: b"Done" in world.game().logs())
    await host.start()
    assert (await world.reported("running", count=2)).recovered
    assert (await world.reported("running", count=3)).phase == "ready"


async def test_a_game_that_froze_while_the_host_was_dead_is_ended_for_hanging(world: World, host: HostProcess) -> None:
    readiness = Readiness(**A2S, liveness_limit_seconds=1)
    await world.start(config=python(SOURCE_SERVER), readiness=readiness, stop_timeout_seconds=1)
    await world.reported("running")
    await world.type("listen\n")
    await world.reported("running", count=2)
    await host.kill()
    world.game().kill(signal="SIGSTOP")
    await host.start()
    assert (await world.reported("crashed")).reason == "hung"


async def test_a_host_that_dies_while_it_ends_a_game_that_hangs_still_calls_it_a_crash(
    world: World, host: HostProcess
) -> None:
    readiness = Readiness(**A2S, liveness_limit_seconds=1)
    await world.start(config=python(SOURCE_SERVER), readiness=readiness, stop_timeout_seconds=8)
    await world.reported("running")
    await world.type("listen\n")
    await world.reported("running", count=2)
    world.game().kill(signal="SIGSTOP")
    await world.reported("stopping")
    await host.kill()
    await host.start()
    assert (await world.reported("crashed")).reason == "hung"
