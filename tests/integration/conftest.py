"""The platform as real processes, and what the flow tests say to it and ask of it."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from manman_devstack import images
from manman_devstack.control import Control, by_grpc, by_rest
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost, scripted_host
from manman_devstack.stage import Database, Engine, Stage, Subscriber

FAST = {
    "STALE_HOST_THRESHOLD_SECONDS": "2",
    "STALE_HOST_CHECK_INTERVAL_SECONDS": "0.3",
    "HEARTBEAT_SECONDS": "0.5",
    "STATS_INTERVAL_SECONDS": "1",
    "OUTBOX_POLL_SECONDS": "0.3",
    "RESTART_CHECK_INTERVAL_SECONDS": "0.2",
    "RESTART_INTERVAL_SECONDS": "0.2",
    "RESTART_BACKOFF_SECONDS": "0.3",
}
"""Short patience, so that tests about silence do not take minutes."""


@pytest.fixture(scope="session")
async def platform(docker_host: str) -> AsyncIterator[Platform]:  # noqa: ARG001 - the engine must outlive it
    async with Platform(settings=FAST) as started:
        yield started


@pytest.fixture(scope="session")
def echo_image(docker_host: str) -> str:
    """Return the name of the image of a game that says what it hears."""
    return images.ensure_image(docker_host, Path(__file__).parent / "images/echo", "manman-test-echo:dev")


@pytest.fixture
async def real_host(platform: Platform, database: Database, echo_image: str) -> int:  # noqa: ARG001 - its games need it
    """Return the id of the platform's own host, once it is online."""
    query = "SELECT server_id, status FROM servers WHERE name = %s"

    async def online() -> int:
        row = await database.row(query, platform.server_name)
        assert row["status"] == "online"
        return row["server_id"]

    return await eventually(online, timeout_s=30)


@pytest.fixture
def engine(platform: Platform) -> Iterator[Engine]:
    client = docker.DockerClient(base_url=platform.docker_host)
    yield Engine(client, platform.labels)
    client.close()


@pytest.fixture(params=["rest", "grpc"])
async def either(request: pytest.FixtureRequest, platform: Platform) -> AsyncIterator[Control]:
    opened = by_rest(platform.rest) if request.param == "rest" else by_grpc(platform.grpc)
    async with opened as control:
        yield control


@pytest.fixture
async def control(platform: Platform) -> AsyncIterator[Control]:
    async with by_rest(platform.rest) as opened:
        yield opened


@pytest.fixture
def stage(control: Control) -> Stage:
    return Stage(control)


@pytest.fixture
def database(platform: Platform) -> Database:
    return Database(platform.database_url)


@pytest.fixture
def onlooker(platform: Platform) -> Onlooker:
    return Onlooker(platform.amqp_url)


@pytest.fixture
async def subscriber(onlooker: Onlooker) -> AsyncIterator[Subscriber]:
    queue = f"subscriber-{uuid.uuid4().hex[:12]}"
    await onlooker.subscribe(queue, "external", "manman.#")
    yield Subscriber(onlooker, queue)
    await onlooker.delete(queue)


@pytest.fixture
async def host(control: Control, platform: Platform, database: Database) -> AsyncIterator[ScriptedHost]:
    async with scripted_host(control, platform.amqp_url) as registered:
        await registered.beat()
        await eventually(lambda: _is_online(database, registered.server_id))
        yield registered


async def _is_online(database: Database, server_id: int) -> bool:
    row = await database.row("SELECT status FROM servers WHERE server_id = %s", server_id)
    return bool(row["status"] == "online")


@pytest.fixture
async def pending(stage: Stage, host: ScriptedHost) -> int:
    """Start a session that the scripted host has not answered for."""
    return await stage.start(await stage.deployment(host.server_id))
