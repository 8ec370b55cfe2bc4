"""Create a host, a game, a config; deploy; start; and the database says so. Through both doors of the API."""

import uuid

import pytest

from manman_devstack.control import Control, by_rest
from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform
from manman_devstack.stage import Database, Engine, Stage, Subscriber, lines_until

pytestmark = pytest.mark.timeout(240)

PARAMETERS = [
    {"key": "greeting", "type": "string", "default_value": "hello"},
    {"key": "players", "type": "int", "default_value": "4", "max_value": 8},
]


async def test_a_game_is_deployed_started_played_and_stopped_and_every_row_says_so(
    *,
    either: Control,
    real_host: int,
    platform: Platform,
    database: Database,
    subscriber: Subscriber,
    engine: Engine,
) -> None:
    stage = Stage(either)
    config_id = await stage.config(
        command=["{{greeting}}"], env_template={"PLAYERS": "{{players}}"}, parameters=PARAMETERS
    )
    made = await either.call(
        "DeployGameConfig",
        server_id=real_host,
        game_config_id=config_id,
        port_bindings=[{"container_port": 7777, "host_port": 0, "protocol": "UDP"}],
        parameters={"players": "6"},
    )
    deployment_id = int(made["config"]["server_game_config_id"])
    host_port = made["config"]["port_bindings"][0]["host_port"]
    row = await database.row("SELECT * FROM server_game_configs WHERE sgc_id = %s", deployment_id)
    assert (row["server_id"], row["game_config_id"]) == (real_host, config_id)
    held = await database.row("SELECT * FROM server_ports WHERE sgc_id = %s", deployment_id)
    assert (held["port"], held["protocol"].upper()) == (host_port, "UDP")

    session_id = await stage.start(deployment_id, parameters={"greeting": "good morning"})
    row = await eventually(lambda: database.status_is(session_id, "running"), timeout_s=40)
    assert row["sgc_id"] == deployment_id
    assert row["started_at"] >= row["created_at"]
    assert row["parameters"] == {"greeting": "good morning"}

    game = engine.container(session_id, "game")
    assert "PLAYERS=6" in game.attrs["Config"]["Env"]
    assert {one["HostPort"] for one in game.attrs["HostConfig"]["PortBindings"]["7777/udp"]} == {str(host_port)}
    assert game.id.startswith(row["container_id"])
    assert "echo game is ready: good morning" in await lines_until(platform.rest, session_id, "ready")

    await stage.say(session_id, "ping")
    await lines_until(platform.rest, session_id, "heard ping")
    await eventually(lambda: is_measured(either, session_id, real_host), timeout_s=30)

    stopping = await either.call("StopSession", session_id=session_id)
    assert stopping["session"]["status"] in {"stopping", "stopped"}
    row = await eventually(lambda: database.status_is(session_id, "stopped"), timeout_s=30)
    assert row["exit_code"] == 0
    assert row["ended_at"] >= row["started_at"]
    await eventually(
        lambda: subscriber.expect("manman.session.running", "manman.session.stopped", session_id=session_id)
    )
    held = await database.row("SELECT * FROM server_ports WHERE sgc_id = %s", deployment_id)
    assert held["port"] == host_port, "the deployment keeps its port between sessions"


async def is_measured(control: Control, session_id: int, server_id: int) -> None:
    """Assert that it is known what the game and its host use."""
    game = (await control.call("GetSessionStats", session_id=session_id))["points"]
    host = (await control.call("GetServerStats", server_id=server_id))["points"]
    assert game
    assert int(game[-1]["memory_bytes"]) > 0
    assert "cpu_cores" in game[-1], "the second look makes a rate"
    assert int(host[-1]["memory_total_bytes"]) > int(game[-1]["memory_bytes"])


async def test_a_game_that_ends_by_itself_is_completed_or_crashed_by_its_exit_code(
    real_host: int, stage: Stage, database: Database
) -> None:
    deployment_id = await stage.deployment(real_host)
    for typed, status, code in (("exit 3", "crashed", 3), ("quit", "completed", 0)):
        session_id = await stage.start(deployment_id)
        await eventually(lambda session_id=session_id: database.status_is(session_id, "running"), timeout_s=40)
        await stage.say(session_id, typed)
        row = await eventually(
            lambda session_id=session_id, status=status: database.status_is(session_id, status), timeout_s=20
        )
        assert row["exit_code"] == code


async def test_a_host_is_created_found_changed_and_deleted(either: Control, database: Database) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    made = await either.call("CreateServer", name=name)
    server_id = int(made["server"]["server_id"])
    assert (await database.row("SELECT status FROM servers WHERE server_id = %s", server_id))["status"] == "offline"
    found = await either.call("GetServer", server_id=server_id)
    assert found["server"]["name"] == name
    await either.call("DeleteServer", server_id=server_id)
    assert await database.rows("SELECT * FROM servers WHERE server_id = %s", server_id) == []


async def test_both_doors_lead_to_one_room(either: Control, platform: Platform) -> None:
    game = await either.call("CreateGame", name=f"game-{uuid.uuid4().hex[:8]}")
    async with by_rest(platform.rest) as rest:
        again = await rest.call("GetGame", game_id=game["game"]["game_id"])
    assert again["game"] == game["game"]
