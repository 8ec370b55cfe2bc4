"""Any part may be killed while a game runs: the game plays on, the records come right, and no event is lost."""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass

import docker
import pytest

from manman.errors import ManManError
from manman_devstack import databases, docker_engine, parts, postgres, rabbitmq
from manman_devstack.control import by_rest
from manman_devstack.eventually import eventually
from manman_devstack.home import Home
from manman_devstack.onlooker import Onlooker
from manman_devstack.platform import Platform
from manman_devstack.postgres import PrivatePostgres
from manman_devstack.rabbitmq import PrivateRabbitmq
from manman_devstack.stack import Infrastructure
from manman_devstack.stage import Database, Engine, Stage, Subscriber, lines_until

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "HEARTBEAT_SECONDS": "0.5",
    "STALE_HOST_THRESHOLD_SECONDS": "60",
    "OUTBOX_POLL_SECONDS": "0.3",
    "RABBITMQ_HEARTBEAT_SECONDS": "2",
}
SETTLED_S = 6.0
"""A quorum queue of RabbitMQ 3.10 does not survive a kill within its first second: a fault of the broker."""


@dataclass
class Ground:
    """A platform on a broker and a database of its own, so that these can be killed, too."""

    platform: Platform
    broker: PrivateRabbitmq
    server: PrivatePostgres
    stage: Stage
    engine: Engine
    started: float

    @property
    def database(self) -> Database:
        return Database(self.platform.database_url)

    async def kill(self, part: str) -> None:
        await asyncio.sleep(max(0.0, self.started + SETTLED_S - time.monotonic()))
        match part:
            case "broker":
                await asyncio.to_thread(self.broker.kill)
            case "database":
                await asyncio.to_thread(self.server.kill)
            case _:
                await self.platform.kill(part)

    async def start(self, part: str) -> None:
        match part:
            case "broker":
                await asyncio.to_thread(self.broker.start)
            case "database":
                await asyncio.to_thread(self.server.start)
            case _:
                await self.platform.start(part)


@dataclass
class Game:
    """One running session and what must stay true of it."""

    ground: Ground
    session_id: int
    container_id: str

    async def plays_on(self) -> None:
        """Wait until it is recorded as running and its console answers; it is still the container it always was."""
        word = uuid.uuid4().hex[:8]
        await eventually(lambda: self.ground.database.status_is(self.session_id, "running"), timeout_s=30)
        await eventually(lambda: self._hears(word), timeout_s=40)
        await lines_until(self.ground.platform.rest, self.session_id, f"heard {word}", timeout_s=30)
        assert self.ground.engine.container(self.session_id, "game").id == self.container_id

    async def _hears(self, word: str) -> None:
        try:
            await self.ground.stage.say(self.session_id, word)
        except ManManError as error:
            raise AssertionError(f"the console does not answer: {error}") from error


@pytest.fixture(scope="module")
async def ground(devstack_home: Home, echo_image: str) -> AsyncIterator[Ground]:  # noqa: ARG001 - games need it
    name = secrets.token_hex(4)
    server = postgres.prepare(devstack_home, f"postgres-{name}")
    broker = rabbitmq.prepare(devstack_home, f"rabbitmq-{name}")
    with ExitStack() as stack:
        for start, kill in (
            (server.start, server.kill),
            (broker.start, broker.kill),
            (lambda: None, broker.mapper.kill),
        ):
            stack.callback(kill)
            await asyncio.to_thread(start)
        template = await asyncio.to_thread(databases.migrated_template, server.url)
        database_url = stack.enter_context(databases.fresh_database(server.url, template))
        infrastructure = Infrastructure(
            database_url, broker.url, parts.object_store(devstack_home), docker_engine.ensure().address
        )
        async with Platform(infrastructure, settings=SETTINGS) as platform, by_rest(platform.rest) as control:
            client = docker.DockerClient(base_url=platform.docker_host)
            stack.callback(client.close)
            engine = Engine(client, platform.labels)
            yield Ground(platform, broker, server, Stage(control), engine, time.monotonic())


@pytest.fixture
async def witness(ground: Ground) -> AsyncIterator[Subscriber]:
    onlooker, queue = Onlooker(ground.platform.amqp_url), f"witness-{uuid.uuid4().hex[:12]}"
    await onlooker.subscribe(queue, "external", "manman.#")
    yield Subscriber(onlooker, queue)
    await onlooker.delete(queue)


@pytest.fixture
async def games(ground: Ground, witness: Subscriber) -> list[Game]:  # noqa: ARG001 - it must watch from the start
    """Start two games: one to play on, one to die in the dark."""
    row = await ground.database.row("SELECT server_id FROM servers WHERE name = %s", ground.platform.server_name)

    async def one() -> Game:
        session_id = await ground.stage.start(await ground.stage.deployment(row["server_id"]))
        await eventually(lambda: ground.database.status_is(session_id, "running"), timeout_s=40)
        await lines_until(ground.platform.rest, session_id, "echo game is ready")
        return Game(ground, session_id, ground.engine.container(session_id, "game").id)

    return list(await asyncio.gather(one(), one()))


async def all_came_right(games: list[Game], witness: Subscriber) -> None:
    lives, died = games
    row = await eventually(lambda: lives.ground.database.status_is(died.session_id, "crashed"), timeout_s=60)
    assert row["exit_code"] == 137
    await lives.plays_on()
    await eventually(
        lambda: witness.expect("manman.session.running", "manman.session.crashed", session_id=died.session_id),
        timeout_s=30,
    )
    await witness.expect("manman.session.running", session_id=lives.session_id)


@pytest.mark.parametrize("part", ["api", "processor", "host", "broker", "database"])
async def test_a_killed_part_comes_back_to_a_running_game_and_hears_of_the_one_that_died_meanwhile(
    ground: Ground, games: list[Game], witness: Subscriber, part: str
) -> None:
    await ground.kill(part)
    ground.engine.container(games[1].session_id, "game").kill()
    await ground.start(part)
    await all_came_right(games, witness)


async def test_a_killed_wrapper_is_replaced_and_its_game_plays_on(
    ground: Ground, games: list[Game], witness: Subscriber
) -> None:
    for game in games:
        ground.engine.container(game.session_id, "wrapper").kill()
    ground.engine.container(games[1].session_id, "game").kill()
    await all_came_right(games, witness)


async def test_everything_of_ours_killed_at_once_leaves_the_game_alone(
    ground: Ground, games: list[Game], witness: Subscriber
) -> None:
    services: list[Callable[[], Awaitable[None]]] = [
        lambda part=part: ground.platform.kill(part) for part in ("api", "processor", "host")
    ]
    await asyncio.gather(*(kill() for kill in services))
    ground.engine.container(games[1].session_id, "game").kill()
    for part in ("api", "processor", "host"):
        await ground.start(part)
    await all_came_right(games, witness)
