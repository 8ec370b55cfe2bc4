"""The Docker engine restarts under running sessions: with live restore games play on, without it they end."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import World

    from manman_devstack.private_engine import PrivateEngine

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("engine_host")]

COUNT = "i=0; while read go; do for n in $(seq 1 $go); do i=$((i+1)); echo line $i; done; done"


async def start_counting(world: World) -> None:
    await world.start(script=COUNT)
    await world.reported("running")
    await world.type("20\n")
    await world.lines_until("line 20")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_with_live_restore_a_game_plays_on_and_no_line_and_no_input_is_lost(
    private_docker: PrivateEngine, engine_world: World, sign: signal.Signals
) -> None:
    world = engine_world
    await start_counting(world)
    before = world.game().attrs["State"]["Pid"]
    await asyncio.to_thread(private_docker.daemon.stop, sign)
    await asyncio.to_thread(private_docker.start)
    assert world.game().attrs["State"]["Pid"] == before

    async def counts_on() -> None:
        await world.type("1\n")
        try:
            await world.lines_until("line 21", timeout_s=3)
        except TimeoutError as error:
            raise AssertionError("the game does not answer") from error

    await eventually(counts_on, timeout_s=60)
    lines = [line for line in await world.lines_until("line 21") if line.source == "stdout"]
    assert [line.seq for line in lines] == list(range(1, 22))
    assert not [report for report in world.reports if report.status in {"crashed", "stopped"}]
    world.game().kill()
    assert (await world.reported("crashed", timeout_s=40)).exit_code == 137


@pytest.mark.parametrize("private_docker", [False], indirect=True)
async def test_without_live_restore_games_end_with_the_engine_and_that_is_told_when_it_is_back(
    private_docker: PrivateEngine, engine_world: World
) -> None:
    world = engine_world
    await start_counting(world)
    await asyncio.to_thread(private_docker.daemon.stop, signal.SIGTERM, 40)
    await asyncio.to_thread(private_docker.start)
    assert (await world.reported("crashed", timeout_s=60)).exit_code == 137
    await world.start(2)
    await world.reported("running", 2, timeout_s=60)
    await world.stop(2, force=True)
    await world.reported("stopped", 2)
    await world.clean()
