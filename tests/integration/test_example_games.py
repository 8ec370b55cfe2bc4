"""The examples beside the one that the demo plays: asked by their own protocol, stopped, crashed and started again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from manman_devstack import images, probes
from manman_devstack.demo import catalogue
from manman_devstack.demo.rest import Rest
from manman_devstack.demo.villain import kill_game
from manman_devstack.eventually import eventually
from manman_devstack.home import REPOSITORY
from manman_devstack.stage import lines_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from manman_devstack.demo.rest import Json
    from manman_devstack.platform import Platform
    from manman_devstack.stage import Database, Engine, Stage

pytestmark = pytest.mark.timeout(300)

KILLED, TERMINATED = 128 + 9, 128 + 15
NEWEST = "SELECT * FROM sessions WHERE sgc_id = %s ORDER BY session_id DESC LIMIT 1"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Play:
    """An example game on the platform's host, and what happens to it."""

    platform: Platform
    database: Database
    stage: Stage
    deployment: Json

    @property
    def deployment_id(self) -> int:
        """Its deployment's id."""
        return int(self.deployment["server_game_config_id"])

    async def start(self, phase: str = "", **parameters: str) -> int:
        """Start a session and return its id, once it runs and is in that phase."""
        session_id = await self.stage.start(self.deployment_id, parameters=parameters)
        await eventually(lambda: self.runs(session_id, phase), timeout_s=60)
        return session_id

    async def stop(self, session_id: int) -> dict[str, Any]:
        """Stop the session; return its row when it has stopped."""
        await self.stage.control.call("StopSession", session_id=session_id)
        return await eventually(lambda: self.database.status_is(session_id, "stopped"), timeout_s=30)

    async def crash(self, session_id: int, phase: str = "") -> int:
        """Kill the game's process; return the session that was started in its place, once that runs."""
        await kill_game(self.platform.docker_host, str(session_id), self.platform.environment)

        async def restarted() -> int:
            newest = await self.database.row(NEWEST, self.deployment_id)
            assert newest["restart_of_session_id"] == session_id
            return int(newest["session_id"])

        second = await eventually(restarted, timeout_s=30)
        await eventually(lambda: self.runs(second, phase), timeout_s=60)
        row = await self.database.session(session_id)
        assert (row["status"], row["exit_code"]) == ("crashed", KILLED)
        return second

    async def runs(self, session_id: int, phase: str) -> None:
        """Raise AssertionError unless the session runs and is in that phase."""
        row = await self.database.status_is(session_id, "running")
        assert phase in ("", row["phase"]), row["phase"]

    async def answer(self, probe: Callable[..., Awaitable[Answer]], protocol: str) -> Answer:
        """Ask the game until it answers."""

        async def asked() -> list[Answer]:
            try:
                return [await probe("127.0.0.1", catalogue.host_port(self.deployment, protocol))]
            except probes.ProbeError as error:
                raise AssertionError(str(error)) from error

        return (await eventually(asked, timeout_s=20))[0]


@pytest.fixture
async def play(
    request: pytest.FixtureRequest, platform: Platform, database: Database, stage: Stage, real_host: int
) -> Play:
    """Put the example of that name on the platform's host, to be started again when it crashes."""
    name: str = request.param
    await asyncio.to_thread(images.ensure_game, platform.docker_host, name)
    document = catalogue.read_game(REPOSITORY / "examples" / "games" / name / "game.yaml")
    async with Rest(platform.rest) as rest:
        game = await catalogue.keep_game(rest, document["game"])
        wanted = document["config"] | {"restart_policy": {"policy": "on_crash"}}
        config_id = (await catalogue.keep_config(rest, game.value["game_id"], wanted)).value["config_id"]
        for volume in document["volumes"]:
            await catalogue.keep_volume(rest, config_id, volume)
        deployment = await catalogue.keep_deployment(rest, str(real_host), config_id, document["deployment"])
    return Play(platform, database, stage, deployment.value)


@pytest.mark.parametrize("play", ["teeworlds"], indirect=True)
async def test_teeworlds_is_played_over_udp_also_after_a_crash_and_ends_by_its_signal(play: Play) -> None:
    first = await play.start(game_type="ctf", map="ctf1")
    before = await play.answer(probes.teeworlds_info, "UDP")
    second = await play.crash(first)
    after = await play.answer(probes.teeworlds_info, "UDP")
    ended = await play.stop(second)

    assert (before.server_name, before.map_name, before.game_type) == ("ManMan demo", "ctf1", "CTF")
    assert after == before
    assert (ended["exit_code"], ended["status_reason"]) == (TERMINATED, "stopped")


@pytest.mark.parametrize("play", ["freeciv"], indirect=True)
async def test_freeciv_goes_on_with_the_world_that_it_saved_when_it_was_stopped_and_before_it_crashed(
    play: Play, engine: Engine
) -> None:
    async def world_of(session_id: int) -> str:
        said = await lines_until(play.platform.rest, session_id, "loading the saved world ")
        return said[-1].removeprefix("loading the saved world ")

    first = await play.start(phase="ready")
    welcome = await play.answer(probes.freeciv_join, "TCP")
    ended = await play.stop(first)
    second = await play.start(phase="ready")
    assert await world_of(second) == "world.sav.xz"
    assert (await play.answer(probes.freeciv_join, "TCP")).can_join

    await play.stage.say(second, "save before-the-crash")
    await lines_until(play.platform.rest, second, "before-the-crash.sav.xz")
    half = "head -c 500 saves/world.sav.xz >saves/half.sav.xz"  # what a server leaves that is killed while it saves
    await asyncio.to_thread(engine.container(second, "game").exec_run, ["sh", "-c", half])
    third = await play.crash(second, phase="ready")
    assert await world_of(third) == "before-the-crash.sav.xz"
    assert (await play.answer(probes.freeciv_join, "TCP")).can_join
    listed = await asyncio.to_thread(engine.container(third, "game").exec_run, ["ls", "/srv/freeciv/saves"])
    await play.stop(third)

    assert (welcome.can_join, welcome.message) == (True, "probe Welcome")
    assert (ended["exit_code"], ended["status_reason"]) == (0, "stopped")
    assert {"world.sav.xz", "before-the-crash.sav.xz", "half.sav.xz"} <= set(listed.output.decode().split())
