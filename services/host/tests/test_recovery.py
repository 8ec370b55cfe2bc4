"""What is left when a part of the execution plane is killed, and what the next life makes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import HostProcess, World

    from manman.messages.health import Heartbeat

COUNT = "i=0; while read go; do for n in $(seq 1 $go); do i=$((i+1)); echo line $i; done; done"


async def test_a_killed_host_comes_back_to_its_session_without_a_missing_or_doubled_line(
    world: World, host: HostProcess
) -> None:
    await world.start(script=COUNT)
    await world.reported("running")
    game = world.game().id
    await world.type("500\n")
    await world.lines_until("line 500")
    await world.type("2000\n")
    await host.kill()
    await host.start()
    recovered = await world.reported("running", count=2)
    assert recovered.recovered
    assert recovered.container_id == game
    await world.type("100\n")
    lines = [line for line in await world.lines_until("line 2600") if line.source == "stdout"]
    assert [line.message for line in lines] == [f"line {number}" for number in range(1, 2601)]
    assert [line.seq for line in lines] == list(range(1, 2601))
    await world.stop(force=True)
    await world.reported("stopped")


async def test_a_game_that_ended_while_the_host_was_dead_is_reported_with_its_code(
    world: World, host: HostProcess
) -> None:
    await world.start(script="read x; echo last words; exit 4")
    await world.reported("running")
    await host.kill()
    stdin = world.game().attach_socket(params={"stdin": 1, "stream": 1})
    stdin._sock.sendall(b"go\n")
    stdin._sock.close()
    stdin.close()
    await eventually(lambda: world.game().status == "exited")
    await host.start()
    crashed = await world.reported("crashed")
    assert (crashed.exit_code, crashed.reason) == (4, "exited")
    await world.lines_until("last words")
    await world.clean()


async def test_a_recovered_session_is_in_the_inventory_before_its_wrapper_answers(
    world: World, host: HostProcess
) -> None:
    await world.start()
    await world.reported("running")
    (before,) = {beat.host_boot_id for beat in world.heartbeats}
    await host.kill()
    (wrapper,) = world.containers(type="wrapper")
    wrapper.pause()
    await host.start()

    def of_new_life() -> list[Heartbeat]:
        return [beat for beat in world.heartbeats if beat.host_boot_id != before]

    await eventually(lambda: len(of_new_life()) >= 3, timeout_s=20)
    assert all([item.session_id for item in beat.sessions or ()] == [1] for beat in of_new_life())
    assert not [report for report in world.reports if report.status in {"crashed", "stopped"}]
    wrapper.unpause()
    assert (await world.reported("running", count=2)).recovered
    await eventually(lambda: [item.status for item in of_new_life()[-1].sessions or ()] == ["running"])
    await world.stop(force=True)
    await world.reported("stopped")


async def test_a_killed_wrapper_is_restarted_and_the_game_does_not_notice(world: World, host: HostProcess) -> None:
    assert host
    await world.start(script=COUNT)
    await world.reported("running")
    await world.type("50\n")
    await world.lines_until("line 50")
    (wrapper,) = world.containers(type="wrapper")
    wrapper.kill()
    await eventually(lambda: [one.status for one in world.containers(type="wrapper")] == ["running"], timeout_s=20)

    async def answers() -> bool:
        await world.type("1\n")
        return any(line.message == "line 51" for line in await world.lines_until("line 51", timeout_s=3))

    await eventually(lambda: _within(answers), timeout_s=20)
    lines = [line for line in await world.lines_until("line 51") if line.source == "stdout"]
    assert [line.seq for line in lines] == list(range(1, 52))
    assert not [report for report in world.reports if report.status in {"crashed", "stopped"}]
    await world.stop(force=True)
    await world.reported("stopped")


async def _within(check: object) -> bool:
    try:
        return bool(await check())  # type: ignore[operator] # any callable check
    except TimeoutError:
        return False


async def test_a_host_killed_in_the_middle_of_a_start_ends_up_with_one_running_game(
    world: World, host: HostProcess
) -> None:
    await world.start()
    await world.reported("starting", count=4)
    await host.kill()
    await host.start()
    await world.reported("running")
    assert len(world.containers(type="game")) == 1
    await world.stop(force=True)
    await world.reported("stopped")


@pytest.mark.parametrize("force", [False, True])
async def test_a_stop_that_a_killed_host_could_not_pass_on_is_carried_out_by_its_next_life(
    world: World, host: HostProcess, *, force: bool
) -> None:
    await world.start()
    await world.reported("running")
    (wrapper,) = world.containers(type="wrapper")
    wrapper.pause()
    await world.stop(force=force, stop_command="quit")
    await world.reported("stopping")
    await host.kill()
    wrapper.unpause()
    await host.start()
    assert (await world.reported("stopped")).exit_code == (137 if force else 0)


async def test_a_helper_that_a_killed_host_left_is_removed(world: World, host: HostProcess) -> None:
    await host.end()
    labels = {
        "manman.type": "helper",
        "manman.managed_by": "manman-host",
        "manman.server_id": str(world.server_id),
        "manman.environment": world.environment,
    }
    world.engine.containers.create(world.image, labels=labels)
    await host.start()
    await eventually(lambda: not world.containers(type="helper"), timeout_s=20)


async def test_containers_of_another_environment_are_left_alone(world: World, host: HostProcess) -> None:
    stranger = world.engine.containers.run(
        world.image,
        ["sleep", "60"],
        detach=True,
        labels={
            "manman.type": "game",
            "manman.managed_by": "manman-host",
            "manman.server_id": str(world.server_id),
            "manman.environment": f"{world.environment}x",
            "manman.session_id": "1",
        },
    )
    try:
        await host.end()
        await host.start()
        await world.start()
        await world.reported("running")
        stranger.reload()
        assert stranger.status == "running"
        await world.stop(force=True)
        await world.reported("stopped")
    finally:
        stranger.remove(force=True)
    await asyncio.sleep(0)
