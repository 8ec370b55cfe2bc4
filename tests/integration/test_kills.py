"""Any part may be killed while a game runs: the game plays on, the records come right, and no event is lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from manman.errors import ManManError
from manman_devstack.control import by_rest
from manman_devstack.eventually import eventually
from manman_devstack.fragile_platform import FragilePlatform, fragile_platform
from manman_devstack.home import Home
from manman_devstack.onlooker import Onlooker
from manman_devstack.stage import Stage, Subscriber, lines_until

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "HEARTBEAT_SECONDS": "0.5",
    "STALE_HOST_THRESHOLD_SECONDS": "60",
    "OUTBOX_POLL_SECONDS": "0.3",
    "RABBITMQ_HEARTBEAT_SECONDS": "2",
}


@dataclass
class Game:
    """One running session and what must stay true of it."""

    ground: FragilePlatform
    stage: Stage
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
            await self.stage.say(self.session_id, word)
        except ManManError as error:
            raise AssertionError(f"the console does not answer: {error}") from error


@pytest.fixture(scope="module")
async def ground(devstack_home: Home, echo_image: str) -> AsyncIterator[FragilePlatform]:  # noqa: ARG001 - games need it
    async with fragile_platform(devstack_home, SETTINGS) as fragile:
        yield fragile


@pytest.fixture
async def stage(ground: FragilePlatform) -> AsyncIterator[Stage]:
    async with by_rest(ground.platform.rest) as control:
        yield Stage(control)


@pytest.fixture
async def witness(ground: FragilePlatform) -> AsyncIterator[Subscriber]:
    onlooker, queue = Onlooker(ground.platform.amqp_url), f"witness-{uuid.uuid4().hex[:12]}"
    await onlooker.subscribe(queue, "external", "manman.#")
    yield Subscriber(onlooker, queue)
    await onlooker.delete(queue)


@pytest.fixture
async def games(
    ground: FragilePlatform,
    stage: Stage,
    witness: Subscriber,  # noqa: ARG001 - it must watch from the start
) -> list[Game]:
    """Start two games: one to play on, one to die in the dark."""
    row = await ground.database.row("SELECT server_id FROM servers WHERE name = %s", ground.platform.server_name)

    async def one() -> Game:
        session_id = await stage.start(await stage.deployment(row["server_id"]))
        await eventually(lambda: ground.database.status_is(session_id, "running"), timeout_s=40)
        await lines_until(ground.platform.rest, session_id, "echo game is ready")
        return Game(ground, stage, session_id, ground.engine.container(session_id, "game").id)

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
    ground: FragilePlatform, games: list[Game], witness: Subscriber, part: str
) -> None:
    await ground.kill(part)
    ground.engine.container(games[1].session_id, "game").kill()
    await ground.start(part)
    await all_came_right(games, witness)


async def test_a_killed_wrapper_is_replaced_and_its_game_plays_on(
    ground: FragilePlatform, games: list[Game], witness: Subscriber
) -> None:
    for game in games:
        ground.engine.container(game.session_id, "wrapper").kill()
    ground.engine.container(games[1].session_id, "game").kill()
    await all_came_right(games, witness)


async def test_everything_of_ours_killed_at_once_leaves_the_game_alone(
    ground: FragilePlatform, games: list[Game], witness: Subscriber
) -> None:
    services: list[Callable[[], Awaitable[None]]] = [
        lambda part=part: ground.platform.kill(part) for part in ("api", "processor", "host")
    ]
    await asyncio.gather(*(kill() for kill in services))
    ground.engine.container(games[1].session_id, "game").kill()
    for part in ("api", "processor", "host"):
        await ground.start(part)
    await all_came_right(games, witness)
