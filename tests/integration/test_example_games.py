"""A game without a console, over UDP, stopped by its signal: the examples beside the one that the demo plays."""

from __future__ import annotations

import asyncio
import io

import pytest

from manman_devstack import images, probes
from manman_devstack.demo import catalogue
from manman_devstack.demo.rest import Json, Rest
from manman_devstack.demo.screen import Screen
from manman_devstack.demo.watch import wait_for_status
from manman_devstack.eventually import eventually
from manman_devstack.home import REPOSITORY
from manman_devstack.platform import Platform

TERMINATED = 128 + 15


async def deploy(rest: Rest, name: str) -> Json:
    """Put an example game on the only host; return the deployment."""
    document = catalogue.read_game(REPOSITORY / "examples" / "games" / name / "game.yaml")
    (server,) = (await rest.get("/v1/servers"))["servers"]
    game = await catalogue.keep_game(rest, document["game"])
    config = await catalogue.keep_config(rest, game.value["game_id"], document["config"])
    for volume in document["volumes"]:
        await catalogue.keep_volume(rest, config.value["config_id"], volume)
    config_id = config.value["config_id"]
    return (await catalogue.keep_deployment(rest, server["server_id"], config_id, document["deployment"])).value


@pytest.mark.timeout(300)
async def test_teeworlds_is_played_over_udp_and_ends_by_its_signal() -> None:
    screen = Screen(io.StringIO(), colours=False)
    async with Platform(parts=("api", "processor", "host")) as platform, Rest(platform.rest) as rest:
        await asyncio.to_thread(images.ensure_game, platform.docker_host, "teeworlds")
        deployment = await deploy(rest, "teeworlds")
        body = {
            "server_game_config_id": deployment["server_game_config_id"],
            "parameters": {"game_type": "ctf", "map": "ctf1"},
        }
        session = (await rest.post("/v1/sessions", body))["session"]
        await wait_for_status(rest, session["session_id"], "running", timeout_s=60, screen=screen)

        async def answer() -> list[probes.TeeworldsInfo]:
            try:
                return [await probes.teeworlds_info("127.0.0.1", catalogue.host_port(deployment, "UDP"))]
            except probes.ProbeError as error:
                raise AssertionError(str(error)) from error

        (info,) = await eventually(answer, timeout_s=20)
        await rest.post(f"/v1/sessions/{session['session_id']}:stop")
        ended = await wait_for_status(rest, session["session_id"], "stopped", timeout_s=30, screen=screen)

    assert (info.server_name, info.map_name, info.game_type) == ("ManMan demo", "ctf1", "CTF")
    assert (ended["exit_code"], ended["status_reason"]) == (TERMINATED, "stopped")
