"""A host on the real engine and the real broker, with the test in the place of the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import docker
import pytest

from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.consumer import consume
from manman.bus.publisher import Publisher
from manman.bus.streams import read_log
from manman.health import Health
from manman.messages import routing
from manman.messages.codec import decode, encode
from manman.messages.commands import GameConfig, SendInput, ServerGameConfig, StartSession, StopSession
from manman.messages.health import Heartbeat
from manman.messages.logs import LogLine
from manman.messages.status import SessionReported
from manman.rpc.client import channel_to_api
from manman.settings import BusSettings
from manman.tracing import OFF, Tracer
from manman_devstack import debian_base, images
from manman_devstack.eventually import eventually
from manman_host import app
from manman_host.identity import Identity
from manman_host.session_runner import DRAIN_TIMEOUT_S, LAST_DRAIN_TIMEOUT_S
from manman_host.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from manman.bus.delivery import Delivery
    from manman.messages.body import Body
    from manman_devstack.private_engine import PrivateEngine
    from manman_devstack.rabbitmq import PrivateRabbitmq

PROCESS = Path(__file__).with_name("host_process.py")
ECHO = 'echo ready; while read line; do echo got $line; [ "$line" = quit ] && exit 0; done'


class World:
    """One server: its broker, its folder, its containers, and what it was heard to say."""

    def __init__(self, amqp_url: str, docker_host: str, engine: docker.DockerClient, image: str) -> None:
        self.server_id = secrets.randbelow(1_000_000) + 1000
        self.environment = f"t{secrets.token_hex(3)}"
        self.boot_id = uuid4()
        self.folder = Path(tempfile.mkdtemp(prefix="mmh"))
        self.engine = engine
        self.image = image
        self.bus = BusSettings(rabbitmq_url=amqp_url)
        self.reports: list[SessionReported] = []
        self.heartbeats: list[Heartbeat] = []
        self.connection: Connection
        self._publisher: Publisher
        self.variables = {
            "RABBITMQ_URL": amqp_url,
            "DOCKER_HOST": docker_host,
            "ENVIRONMENT": self.environment,
            "HOST_DATA_DIR": str(self.folder),
            "API_ADDRESS": "127.0.0.1:1",
            "IMAGE_PULL_POLICY": "never",
            "HEARTBEAT_SECONDS": "0.2",
            "WRAPPER_IMAGE": images.WRAPPER,
        }

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        queue = topology.Queue(name="listener", keys=("status.session.#", "health.#"))
        async with connect(self.bus, "test") as self.connection, Publisher(self.connection) as self._publisher:
            await topology.declare_queue(self.connection, queue)
            await self.declare_commands()
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(consume(self.connection, queue, self._hear))
                try:
                    yield
                finally:
                    hearing.cancel()

    async def declare_commands(self) -> None:
        await topology.declare_host_command_queue(self.connection, self.server_id)

    async def _hear(self, delivery: Delivery) -> None:
        if delivery.routing_key.startswith("health."):
            self.heartbeats.append(decode(Heartbeat, delivery.body))
        else:
            self.reports.append(decode(SessionReported, delivery.body))

    async def send(self, key: str, body: Body, *, message_id: str = "") -> None:
        await self._publisher.publish(
            routing.EXCHANGE, key, encode(body), message_id=message_id or secrets.token_hex(8), mandatory=True
        )

    def start_command(self, session_id: int = 1, script: str = ECHO, **changes: Any) -> StartSession:
        config = {"image": self.image, "command": ["/bin/sh", "-c", script], **changes.pop("config", {})}
        values: dict[str, Any] = {
            "session_id": session_id,
            "sgc_id": 41,
            "game_config": GameConfig(config_id=9, **config),
            "server_game_config": ServerGameConfig(sgc_id=41, port_bindings=changes.pop("ports", [])),
        }
        return StartSession(**{**values, **changes})

    async def start(self, session_id: int = 1, script: str = ECHO, **changes: Any) -> None:
        await topology.declare_log_stream(self.connection, session_id)
        await self.send(routing.command_start(self.server_id), self.start_command(session_id, script, **changes))

    async def stop(self, session_id: int = 1, **changes: Any) -> None:
        await self.send(routing.command_stop(self.server_id), StopSession(session_id=session_id, **changes))

    async def type(self, text: str, session_id: int = 1, *, message_id: str = "") -> None:
        body = SendInput(session_id=session_id, input=text.encode())
        await self.send(routing.command_send_input(self.server_id), body, message_id=message_id)

    async def reported(
        self, status: str, session_id: int = 1, *, count: int = 1, timeout_s: float = 25
    ) -> SessionReported:
        """Wait for the `count`-th report of that status."""

        def found() -> SessionReported:
            hits = [one for one in self.reports if (one.session_id, one.status) == (session_id, status)]
            assert len(hits) >= count, f"{status} not reported: {[(one.status, one.reason) for one in self.reports]}"
            return hits[count - 1]

        return await eventually(found, timeout_s=timeout_s)

    async def lines_until(self, text: str, session_id: int = 1, *, timeout_s: float = 25) -> list[LogLine]:
        """Read the session's stream from its start up to the line `text`."""
        lines: list[LogLine] = []
        async with asyncio.timeout(timeout_s), contextlib.aclosing(read_log(self.connection, session_id)) as batches:
            async for batch in batches:
                for stored in batch:
                    lines.append(decode(LogLine, stored.body))
                    if lines[-1].message == text:
                        return lines
        return lines

    def containers(self, **labels: str) -> list[Any]:
        wanted = {"manman.environment": self.environment, **{f"manman.{key}": value for key, value in labels.items()}}
        filters = {"label": [f"{key}={value}" for key, value in wanted.items()]}
        return list(self.engine.containers.list(all=True, filters=filters, ignore_removed=True))

    def game(self) -> Any:
        (found,) = self.containers(type="game")
        return found

    async def clean(self) -> None:
        """Wait until nothing of this server's sessions is left: containers, networks, folders.

        That takes as long as a host waits for its last lines to be taken: a broker that is killed right after it made
        its first stream does not find it again.
        """

        def left() -> list[object]:
            networks = self.engine.networks.list(filters={"label": f"manman.environment={self.environment}"})
            return [*self.containers(), *networks, *self.folder.glob("session-*")]

        await eventually(lambda: not left(), timeout_s=DRAIN_TIMEOUT_S + LAST_DRAIN_TIMEOUT_S + 20)

    def remove_everything(self) -> None:
        while found := self.containers():
            for container in found:
                with contextlib.suppress(docker.errors.APIError):  # a host that ends may be removing it already
                    container.remove(force=True)
        for network in self.engine.networks.list(filters={"label": f"manman.environment={self.environment}"}):
            network.remove()
        for volume in self.engine.volumes.list(filters={"label": f"manman.environment={self.environment}"}):
            volume.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class HostProcess:
    """The host of a world; it can be killed and started again."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self, **variables: str) -> None:
        environment = {**os.environ, **self._world.variables, **variables}  # noqa: TID251 - a child of the test
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROCESS), str(self._world.server_id), env=environment
        )

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()


class HostHere:
    """The host of a world, inside the test's own process: it is there at once."""

    def __init__(self, world: World, group: asyncio.TaskGroup, tracer: Tracer) -> None:
        self._world = world
        self._group = group
        self._tracer = tracer

    async def start(self) -> None:
        self._task = self._group.create_task(self._serve())

    async def _serve(self) -> None:
        settings = Settings(**{name.lower(): value for name, value in self._world.variables.items()})
        async with channel_to_api(settings) as channel:
            identity = Identity(self._world.server_id, "test", settings.environment, uuid4())
            await app.run_as(identity, settings, Health(), channel, self._tracer)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture(scope="session")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_host)
    yield client
    client.close()


@pytest.fixture(scope="session")
def game_image(engine: docker.DockerClient, docker_host: str) -> str:
    images.ensure_wrapper(docker_host)
    images.ensure_base(engine, debian_base.DEBIAN)
    return debian_base.DEBIAN


@pytest.fixture
async def world(amqp_url: str, docker_host: str, engine: docker.DockerClient, game_image: str) -> AsyncIterator[World]:
    world = World(amqp_url, docker_host, engine, game_image)
    try:
        async with world.listening():
            yield world
    finally:
        world.remove_everything()


@pytest.fixture
def tracer() -> Tracer:
    return OFF


@pytest.fixture
async def host_here(world: World, tracer: Tracer) -> AsyncIterator[HostHere]:
    async with asyncio.TaskGroup() as group:
        host = HostHere(world, group, tracer)
        await host.start()
        yield host
        await host.end()


@pytest.fixture
async def host(world: World) -> AsyncIterator[HostProcess]:
    process = HostProcess(world)
    await process.start()
    yield process
    await process.end()


@pytest.fixture
async def engine_world(
    private_docker: PrivateEngine, docker_host: str, amqp_url: str, game_image: str
) -> AsyncIterator[World]:
    """Make a world whose engine is this test's alone, to be stopped."""
    await asyncio.to_thread(images.copy, docker_host, private_docker.address, [images.WRAPPER, game_image])
    client = docker.DockerClient(base_url=private_docker.address)
    world = World(amqp_url, private_docker.address, client, game_image)
    try:
        async with world.listening():
            yield world
    finally:
        world.remove_everything()
        client.close()


@pytest.fixture
async def engine_host(engine_world: World) -> AsyncIterator[HostProcess]:
    process = HostProcess(engine_world)
    await process.start()
    yield process
    await process.end()


@pytest.fixture
async def fragile_world(
    private_rabbitmq: PrivateRabbitmq, docker_host: str, engine: docker.DockerClient, game_image: str
) -> AsyncIterator[World]:
    """Make a world whose broker is this test's alone, to be killed."""
    world = World(private_rabbitmq.url, docker_host, engine, game_image)
    try:
        async with world.listening():
            yield world
    finally:
        world.remove_everything()


@pytest.fixture
async def fragile_host(fragile_world: World) -> AsyncIterator[HostProcess]:
    process = HostProcess(fragile_world)
    await process.start()
    yield process
    await process.end()
