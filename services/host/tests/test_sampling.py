"""What a host says that its games and its machine use: read from the real engine, in heartbeats and in metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from manman.messages.commands import Readiness, Resources
from manman_devstack import images
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import World

    from manman.messages.health import HostSample, SessionSample

MEBI = 1 << 20
BUSY_GAME = """
world = bytearray(100 << 20)
print("busy", flush=True)
while True: pass
"""
GAME_WITH_PLAYERS = """
import socket, sys, threading
def answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as game:
        game.bind(("0.0.0.0", 27015))
        while not deaf:
            _, peer = game.recvfrom(2048)
            game.sendto(b"\\xff\\xff\\xff\\xffI\\x11name\\0map\\0folder\\0game\\0\\xf0\\0\\x03\\x10\\0dl", peer)
deaf = []
threading.Thread(target=answer, daemon=True).start()
for line in sys.stdin:
    deaf.append(line)
"""


@pytest.fixture(autouse=True)
def quick(world: World, interval_s: str) -> None:
    world.variables |= {"STATS_INTERVAL_SECONDS": interval_s, "QUERY_INTERVAL_SECONDS": "0.2"}


@pytest.fixture
def interval_s() -> str:
    return "0.5"


def python(script: str) -> dict[str, Any]:
    """Run a Python script as the game, on the one image here that has Python."""
    return {"image": images.WRAPPER, "entrypoint": ["python", "-u", "-c", script], "command": []}


def newest(world: World) -> tuple[SessionSample, HostSample]:
    """Return the newest samples of the one game and of the machine."""
    heard = [beat.samples for beat in world.heartbeats if beat.samples is not None and beat.samples.sessions]
    assert heard, "no sample of a game yet"
    (game,), machine = heard[-1].sessions, heard[-1].host
    assert machine is not None
    return game, machine


@pytest.mark.usefixtures("host_here")
async def test_a_game_that_computes_shows_about_one_core_and_one_that_allocates_shows_its_memory(
    world: World,
) -> None:
    await world.start(config=python(BUSY_GAME), resources=Resources(memory_mb=256))
    await world.lines_until("busy")

    def computes() -> tuple[SessionSample, HostSample]:
        game, machine = newest(world)
        assert 0.5 < (game.cpu_cores or 0) < 1.3
        return game, machine

    sample, host = await eventually(computes, timeout_s=25)
    assert 100 * MEBI < (sample.memory_bytes or 0) < 160 * MEBI
    assert sample.memory_limit_bytes == 256 * MEBI
    assert (sample.session_id, sample.players, sample.players_max) == (1, None, None)
    assert 0.4 < (host.cpu_cores or 0) <= (host.cpu_count or 0) + 0.1
    assert (host.memory_total_bytes or 0) > (host.memory_bytes or 0) > 100 * MEBI
    assert (host.disk_total_bytes or 0) > (host.disk_bytes or 0) > 0
    shown = generate_latest(REGISTRY).decode()
    assert re.search(r'^manman_session_memory_bytes\{session_id="1",sgc_id="41"\} 1\.\d+e\+08$', shown, re.MULTILINE)
    assert re.search(r"^manman_host_cpu_count \d+\.0$", shown, re.MULTILINE)
    assert "manman_session_players{" not in shown

    await world.stop(force=True)
    await world.reported("stopped")
    await eventually(lambda: "manman_session_memory_bytes{" not in generate_latest(REGISTRY).decode(), timeout_s=10)


@pytest.mark.usefixtures("host_here")
async def test_players_are_counted_and_bytes_move_and_a_silent_game_has_an_unknown_number_of_players(
    world: World,
) -> None:
    await world.start(config=python(GAME_WITH_PLAYERS), readiness=Readiness(query="a2s", port=27015))
    await world.reported("running")

    def plays() -> None:
        sample, _ = newest(world)
        assert (sample.players, sample.players_max) == (3, 16)
        assert (sample.received_bytes_per_second or 0) > 0
        assert (sample.sent_bytes_per_second or 0) > 0

    await eventually(plays, timeout_s=25)
    await world.type("deaf\n")

    def is_silent() -> None:
        sample, _ = newest(world)
        assert (sample.players, sample.players_max) == (None, None)
        assert sample.memory_bytes

    await eventually(is_silent, timeout_s=25)


@pytest.mark.usefixtures("host_here")
@pytest.mark.parametrize("interval_s", ["0"])
async def test_a_host_that_is_told_not_to_look_sends_no_numbers(world: World) -> None:
    await world.start()
    await world.reported("running")
    seen = len(world.heartbeats)
    await eventually(lambda: len(world.heartbeats) > seen + 5)
    assert [beat.samples for beat in world.heartbeats if beat.samples is not None] == []
