"""A game that ends by itself is started again, until that is no use: through every part of the platform."""

import base64
from typing import Any

import pytest

from manman_devstack.control import Control
from manman_devstack.eventually import eventually
from manman_devstack.stage import Database, Stage, Subscriber

pytestmark = pytest.mark.timeout(240)

NEWEST = "SELECT * FROM sessions WHERE sgc_id = %s ORDER BY session_id DESC LIMIT 1"
SOURCE_SERVER = base64.b64encode(b"""
use IO::Socket::INET;
my $game = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 27015, Proto => "udp") or die;
while ($game->recv(my $query, 2048)) { $game->send("\xff\xff\xff\xffI\x11test") }
""").decode()


async def restarted(database: Database, deployment_id: int, of_session: int) -> dict[str, Any]:
    """Return the session that was started because that one ended, once it runs."""
    row = await database.row(NEWEST, deployment_id)
    assert row["restart_of_session_id"] == of_session, row["status"]
    assert row["status"] == "running"
    return row


async def restart_state(control: Control, deployment_id: int) -> dict[str, Any]:
    """Return what the API says about the deployment's restart; empty when nothing."""
    found = await control.call("GetServerGameConfig", server_game_config_id=deployment_id)
    return found["config"].get("restart_state") or {}


async def test_a_crash_starts_a_session_that_is_linked_and_a_clean_end_starts_none(
    real_host: int, stage: Stage, database: Database, control: Control
) -> None:
    deployment_id = await stage.deployment(real_host, restart_policy={"policy": "on_crash"})
    first = await stage.start(deployment_id)
    await eventually(lambda: database.status_is(first, "running"), timeout_s=40)
    await stage.say(first, "exit 3")
    second = await eventually(lambda: restarted(database, deployment_id, first), timeout_s=40)
    assert (second["restart_attempt"], (await database.session(first))["status"]) == (1, "crashed")
    told = (await control.call("GetSession", session_id=second["session_id"]))["session"]
    assert (int(told["restart_of_session_id"]), told["restart_attempt"]) == (first, 1)
    await stage.say(second["session_id"], "quit")
    await eventually(lambda: database.status_is(second["session_id"], "completed"), timeout_s=20)
    decisions = await database.rows("SELECT 1 FROM deployment_restarts WHERE sgc_id = %s", deployment_id)
    assert decisions == []


async def test_a_stop_starts_nothing_though_the_policy_is_always(
    real_host: int, stage: Stage, database: Database, control: Control
) -> None:
    deployment_id = await stage.deployment(real_host, restart_policy={"policy": "always"})
    first = await stage.start(deployment_id)
    await eventually(lambda: database.status_is(first, "running"), timeout_s=40)
    await stage.say(first, "quit")
    second = await eventually(lambda: restarted(database, deployment_id, first), timeout_s=40)
    await control.call("StopSession", session_id=second["session_id"])
    await eventually(lambda: database.status_is(second["session_id"], "stopped"), timeout_s=30)
    other = await stage.deployment(real_host, restart_policy={"policy": "always"})
    witness = await stage.start(other)  # crashes and is decided about later than the stop
    await eventually(lambda: database.status_is(witness, "running"), timeout_s=40)
    await stage.say(witness, "exit 1")
    last = await eventually(lambda: restarted(database, other, witness), timeout_s=40)
    assert (await database.row(NEWEST, deployment_id))["session_id"] == second["session_id"]
    await control.call("StopSession", session_id=last["session_id"], force=True)


async def test_a_game_that_always_crashes_ends_in_a_crash_loop_until_somebody_starts_it(
    real_host: int, stage: Stage, database: Database, control: Control, subscriber: Subscriber
) -> None:
    deployment_id = await stage.deployment(
        real_host,
        entrypoint=["/bin/sh", "-c", "exit 1"],
        restart_policy={"policy": "on_crash", "max_attempts": 2, "window_seconds": 600, "backoff_seconds": 1},
    )
    first = await stage.start(deployment_id)

    async def loops(since: int) -> dict[str, Any]:
        found = await restart_state(control, deployment_id)
        assert found.get("state") == "crash_loop", found
        assert int(found["session_id"]) > since
        return found

    state = await eventually(lambda: loops(first), timeout_s=90)
    assert state["reason"] == "crash loop: 2 restarts within 600 s"
    query = "SELECT restart_attempt, status FROM sessions WHERE sgc_id = %s ORDER BY session_id"
    rows = await database.rows(query, deployment_id)
    assert [(row["restart_attempt"], row["status"]) for row in rows] == [(0, "crashed"), (1, "crashed"), (2, "crashed")]
    told = await eventually(lambda: subscriber.events(sgc_id=deployment_id, status="crash_loop"))
    assert [key for key, _ in told] == ["manman.deployment.crash_loop"]

    by_hand = await stage.start(deployment_id)
    await eventually(lambda: loops(by_hand), timeout_s=90)
    rows = await database.rows(query, deployment_id)
    assert [row["restart_attempt"] for row in rows] == [0, 1, 2, 0, 1, 2]


async def test_a_restart_waits_while_its_host_is_draining(
    real_host: int, stage: Stage, database: Database, control: Control
) -> None:
    deployment_id = await stage.deployment(real_host, restart_policy={"policy": "on_crash"})
    first = await stage.start(deployment_id)
    await eventually(lambda: database.status_is(first, "running"), timeout_s=40)
    await control.call("DrainServer", server_id=real_host)
    try:
        await stage.say(first, "exit 3")

        async def overdue() -> None:
            query = "SELECT 1 FROM deployment_restarts WHERE sgc_id = %s AND due_at < now() - interval '1 second'"
            assert await database.rows(query, deployment_id)

        await eventually(overdue, timeout_s=30)
        assert (await restart_state(control, deployment_id))["state"] == "waiting"
        assert (await database.row(NEWEST, deployment_id))["session_id"] == first
    finally:
        await control.call("UndrainServer", server_id=real_host)
    second = await eventually(lambda: restarted(database, deployment_id, first), timeout_s=40)
    await control.call("StopSession", session_id=second["session_id"], force=True)


async def test_a_game_is_ready_when_it_says_so(real_host: int, stage: Stage, control: Control) -> None:
    session_id = await stage.start(await stage.deployment(real_host, ready_pattern="^echo game is ready"))

    async def is_ready() -> None:
        told = (await control.call("GetSession", session_id=session_id))["session"]
        assert (told["status"], told.get("phase")) == ("running", "ready")

    await eventually(is_ready, timeout_s=40)
    await control.call("StopSession", session_id=session_id, force=True)


async def test_a_game_that_hangs_is_ended_and_started_again(
    *, real_host: int, stage: Stage, database: Database, control: Control, engine: Any
) -> None:
    script = f"echo {SOURCE_SERVER} | base64 -d > /tmp/game.pl && exec perl /tmp/game.pl"
    config_id = await stage.config(
        entrypoint=["/bin/sh", "-c", script],
        stop_command="",
        stop_timeout_seconds=1,
        ready_query={"kind": "a2s", "port": "query"},
        liveness_limit_seconds=1,
        restart_policy={"policy": "on_crash"},
    )
    made = await control.call(
        "DeployGameConfig",
        server_id=real_host,
        game_config_id=config_id,
        port_bindings=[{"container_port": 27015, "host_port": 0, "protocol": "UDP", "name": "query"}],
    )
    deployment_id = int(made["config"]["server_game_config_id"])
    first = await stage.start(deployment_id)

    async def is_ready() -> None:
        assert (await database.session(first))["phase"] == "ready"

    await eventually(is_ready, timeout_s=40)
    engine.container(first, "game").kill(signal="SIGSTOP")
    row = await eventually(lambda: database.status_is(first, "crashed"), timeout_s=40)
    assert row["status_reason"] == "hung"
    second = await eventually(lambda: restarted(database, deployment_id, first), timeout_s=40)
    await control.call("StopSession", session_id=second["session_id"], force=True)
