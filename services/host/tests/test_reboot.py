"""The machine goes down under a host: its containers are ended or gone when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.messages.commands import Volume

if TYPE_CHECKING:
    from conftest import HostProcess, World

SAVE = "echo saved >/data/world; echo up; sleep 600"


async def test_after_a_reboot_every_session_is_told_as_ended_and_can_be_started_again_with_its_world(
    world: World, host: HostProcess
) -> None:
    volumes = [Volume(name="data", container_path="/data")]
    for session_id in (1, 2):
        await world.start(session_id, SAVE, sgc_id=40 + session_id, config={"volumes": volumes})
        await world.reported("running", session_id)
        await world.lines_until("up", session_id)
    await host.kill()
    for container in [*world.containers(type="wrapper"), *world.containers(type="game")]:  # no wrapper sees an end
        container.kill()
    for container in world.containers(session_id="2"):
        container.remove(force=True)
    await host.start()
    ended = await world.reported("crashed", 1, timeout_s=40)
    assert (ended.reason, ended.exit_code) == ("signal", 137)
    gone = await world.reported("crashed", 2, timeout_s=40)
    assert (gone.reason, gone.exit_code) == ("vanished", None)
    await world.clean()
    for session_id, before in ((3, 1), (4, 2)):
        await world.start(session_id, "cat /data/world; sleep 600", sgc_id=40 + before, config={"volumes": volumes})
        await world.lines_until("saved", session_id)


async def test_a_session_of_another_server_in_the_same_folder_is_left_to_it(world: World, host: HostProcess) -> None:
    await world.start()
    await world.reported("running")
    await host.kill()
    for container in [*world.containers(type="wrapper"), *world.containers(type="game")]:
        container.remove(force=True)
    owner, world.server_id = world.server_id, world.server_id + 1
    await world.declare_commands()
    await host.start()
    await world.start(2, sgc_id=42)
    await world.reported("running", 2)
    assert not [report for report in world.reports if (report.session_id, report.status) == (1, "crashed")]
    await host.kill()
    world.server_id = owner
    await host.start()
    assert (await world.reported("crashed", 1, timeout_s=40)).reason == "vanished"
