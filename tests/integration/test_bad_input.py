"""What people get wrong: the answer names the field and the way out, and nothing stops."""

import asyncio
import socket
import subprocess
import sys

import httpx2
import pytest

from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, NotFound
from manman_devstack.control import Control
from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Stage, Subscriber

pytestmark = pytest.mark.timeout(180)

MISSING = 999_999_999


@pytest.mark.parametrize(
    ("method", "fields", "named"),
    [
        ("GetServer", {"server_id": MISSING}, "server"),
        ("GetSession", {"session_id": MISSING}, "session"),
        ("StartSession", {"server_game_config_id": MISSING}, str(MISSING)),
        ("StopSession", {"session_id": MISSING}, "session"),
        ("SendInput", {"session_id": MISSING, "input": "aGk="}, "session"),
        ("CreateGameConfig", {"game_id": MISSING, "name": "x", "image": "y"}, "game"),
        ("DeployGameConfig", {"server_id": MISSING, "game_config_id": MISSING}, str(MISSING)),
    ],
)
async def test_an_unknown_id_is_not_found_and_named(
    either: Control, method: str, fields: dict[str, object], named: str
) -> None:
    with pytest.raises(NotFound, match=named):
        await either.call(method, **fields)


@pytest.mark.parametrize(
    ("method", "fields", "field"),
    [
        ("CreateGame", {"name": ""}, "name"),
        ("GetSession", {"session_id": -1}, "session_id"),
        ("ListSessions", {"status_filter": ["flying"]}, "status_filter"),
        ("CreateGameConfig", {"game_id": 1, "name": "x"}, "image"),
        ("CreateGameConfig", {"game_id": 1, "name": "x", "image": "y", "stop_signal": "kill it"}, "stop_signal"),
    ],
)
async def test_a_bad_value_is_refused_by_the_name_of_its_field(
    either: Control, method: str, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await either.call(method, **fields)
    assert any(field in problem.field for problem in refusal.value.problems), refusal.value.problems


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"server_game_config_id": "seven"}', 400),
        (b'{"server_game_config_id": 1', 400),
        (b"[]", 400),
        (b'{"no_such_field": 1}', 400),
        (b"\xff\xfe", 400),
    ],
)
async def test_a_body_of_the_wrong_shape_is_a_400_with_a_text(platform: Platform, body: bytes, status: int) -> None:
    async with httpx2.AsyncClient(base_url=platform.rest, trust_env=False) as http:
        answer = await http.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("port", [-1, 65536, 1_000_000])
async def test_a_port_out_of_range_is_refused(either: Control, host: ScriptedHost, port: int) -> None:
    stage = Stage(either)
    with pytest.raises(Invalid, match="port"):
        await stage.deployment(host.server_id, port_bindings=[binding(port)])


async def test_a_taken_port_is_refused_with_the_name_of_its_holder(either: Control, host: ScriptedHost) -> None:
    stage = Stage(either)
    holder = await stage.deployment(host.server_id, port_bindings=[binding(25565)])
    with pytest.raises(Exhausted, match="25565") as refusal:
        await stage.deployment(host.server_id, port_bindings=[binding(25565)])
    assert f"deployment {holder} (plain)" in str(refusal.value)
    await stage.deployment(host.server_id, port_bindings=[binding(25565, "UDP")])


async def test_a_name_that_is_taken_already_exists(either: Control, host: ScriptedHost) -> None:
    made = await either.call("GetServer", server_id=host.server_id)
    with pytest.raises(AlreadyExists, match="already exists"):
        await either.call("CreateServer", name=made["server"]["name"])


async def test_a_second_session_of_one_deployment_is_refused_and_force_is_the_way_out(
    either: Control, host: ScriptedHost, pending: int, database: Database
) -> None:
    deployment_id = (await database.session(pending))["sgc_id"]
    with pytest.raises(Conflict):
        await Stage(either).start(deployment_id)
    await host.beat()
    assert await Stage(either).start(deployment_id, force=True) != pending


async def test_a_start_on_a_host_that_is_away_is_refused(either: Control, host: ScriptedHost) -> None:
    stage = Stage(either)
    deployment_id = await stage.deployment(host.server_id)
    await host.report_self("offline")

    async def refused() -> bool:
        try:
            session = await stage.start(deployment_id)
        except Conflict as refusal:
            return "offline" in str(refusal)
        await either.call("StopSession", session_id=session, force=True)
        return False

    await eventually(refused)


async def test_input_to_a_session_that_does_not_run_is_refused_with_its_state(either: Control, pending: int) -> None:
    with pytest.raises(Conflict, match="pending"):
        await Stage(either).say(pending, "hello")


async def test_a_missing_image_ends_in_crashed_with_a_reason_and_the_host_goes_on(
    real_host: int, stage: Stage, database: Database, subscriber: Subscriber
) -> None:
    session_id = await stage.start(await stage.deployment(real_host, image="manman-no-such-image:never"))
    row = await eventually(lambda: database.status_is(session_id, "crashed"), timeout_s=60)
    assert row["status_reason"]
    assert "manman-no-such-image" in row["status_message"]
    await eventually(lambda: subscriber.expect("manman.session.crashed", session_id=session_id))
    good = await stage.start(await stage.deployment(real_host))
    await eventually(lambda: database.status_is(good, "running"), timeout_s=40)
    await stage.control.call("StopSession", session_id=good, force=True)


async def test_a_command_that_does_not_start_is_crashed_with_a_reason(
    real_host: int, stage: Stage, database: Database
) -> None:
    session_id = await stage.start(await stage.deployment(real_host, entrypoint=["/no/such/program"]))
    row = await eventually(lambda: database.status_is(session_id, "crashed"), timeout_s=40)
    assert row["status_reason"]


async def test_a_service_whose_broker_cannot_be_reached_waits_alive_and_not_ready(database: Database) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:9/",
        "PG_DATABASE_URL": database.url,
        "HEALTH_CHECK_PORT": str(port),
        "HEALTH_CHECK_HOST": "127.0.0.1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "manman_processor", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            async def alive_but_not_ready() -> None:
                try:
                    assert (await http.get("/livez")).status_code == 200
                    ready = await http.get("/readyz")
                except httpx2.HTTPError as error:
                    raise AssertionError(str(error)) from error
                assert ready.status_code == 503
                assert "failed while connecting" in ready.json()["problems"]["broker"]

            await eventually(alive_but_not_ready, timeout_s=20)
            await asyncio.sleep(1)
            assert process.returncode is None
    finally:
        process.terminate()
        code = await asyncio.wait_for(process.wait(), 20)
    assert code == 0


@pytest.mark.parametrize("service", ["api", "processor", "host"])
def test_wrong_settings_end_a_service_at_once_with_one_line_each(service: str) -> None:
    environment = {"RABBITMQ_URL": "http://wrong", "HEALTH_CHECK_PORT": "many", "HOST_DATA_DIR": "/srv"}
    command = [sys.executable, "-m", f"manman_{service}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "RABBITMQ_URL is not valid" in done.stderr
    assert "HEALTH_CHECK_PORT is not valid" in done.stderr
    assert "Traceback" not in done.stderr


def binding(host_port: int, protocol: str = "TCP") -> dict[str, object]:
    return {"container_port": 25565, "host_port": host_port, "protocol": protocol}
