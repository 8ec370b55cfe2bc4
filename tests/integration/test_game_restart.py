"""A real game under a restart policy: it is ready by its query, crashes, and its world is there when it is back."""

import asyncio
import base64
import io

import pytest

from manman_devstack import images, probes
from manman_devstack.demo import catalogue
from manman_devstack.demo.rest import Json, Rest
from manman_devstack.demo.screen import Screen
from manman_devstack.demo.villain import kill_game
from manman_devstack.demo.watch import wait_for_status
from manman_devstack.eventually import eventually
from manman_devstack.home import REPOSITORY
from manman_devstack.platform import Platform
from manman_devstack.stage import lines_until

KILLED = 128 + 9
SAVED = "autosave/before_the_crash"


async def deploy(rest: Rest) -> Json:
    """Put OpenTTD on the only host, with a query in place of its pattern; return the deployment."""
    document = catalogue.read_game(REPOSITORY / "examples" / "games" / "openttd" / "game.yaml")
    (server,) = (await rest.get("/v1/servers"))["servers"]
    game = await catalogue.keep_game(rest, document["game"])
    ready = {"ready_pattern": "", "ready_query": {"kind": "tcp", "port": "players"}}
    policy = {"restart_policy": {"policy": "on_crash", "backoff_seconds": 1}}
    config = (await catalogue.keep_config(rest, game.value["game_id"], document["config"] | ready | policy)).value
    for volume in document["volumes"]:
        await catalogue.keep_volume(rest, config["config_id"], volume)
    ports = {"port_bindings": [{"container_port": 3979, "host_port": 0, "protocol": "TCP", "name": "players"}]}
    wanted = document["deployment"] | ports
    return (await catalogue.keep_deployment(rest, server["server_id"], config["config_id"], wanted)).value


async def restarted(rest: Rest, of_session: str) -> Json:
    """Return the session that was made because that one ended."""
    newest: Json = (await rest.get("/v1/sessions"))["sessions"][0]
    assert newest.get("restart_of_session_id") == of_session
    return newest


@pytest.mark.timeout(300)
async def test_openttd_crashes_and_is_started_again_with_the_world_that_it_saved() -> None:
    screen = Screen(io.StringIO(), colours=False)
    parts = ("api", "processor", "host")
    async with (
        Platform(parts=parts, settings={"QUERY_INTERVAL_SECONDS": "0.3"}) as platform,
        Rest(platform.rest) as rest,
    ):
        await asyncio.to_thread(images.ensure_game, platform.docker_host, "openttd")
        deployment = await deploy(rest)
        port = catalogue.host_port(deployment, "TCP")
        body = {"server_game_config_id": deployment["server_game_config_id"], "parameters": {"server_name": "Ours"}}
        first = (await rest.post("/v1/sessions", body))["session"]["session_id"]
        await wait_for_status(rest, first, "running", phase="ready", timeout_s=60, screen=screen)
        await probes.openttd_info("127.0.0.1", port)
        typed = base64.b64encode(f"save {SAVED}\n".encode()).decode()
        await rest.post(f"/v1/sessions/{first}:sendInput", {"input": typed})
        await lines_until(platform.rest, first, "Map successfully saved")

        await kill_game(platform.docker_host, first, platform.environment)
        again = await eventually(lambda: restarted(rest, first), timeout_s=30)
        second = again["session_id"]
        await wait_for_status(rest, second, "running", phase="ready", timeout_s=60, screen=screen)
        info = await probes.openttd_info("127.0.0.1", port)
        lines = await lines_until(platform.rest, second, "loading the saved world")
        ended = (await rest.get(f"/v1/sessions/{first}"))["session"]
        await rest.post(f"/v1/sessions/{second}:stop")
        await wait_for_status(rest, second, "stopped", timeout_s=30, screen=screen)

    assert (ended["status"], ended["exit_code"], again["restart_attempt"]) == ("crashed", KILLED, 1)
    assert lines[-1] == f"loading the saved world {SAVED.removeprefix('autosave/')}.sav"
    assert info.server_name == "Ours"
