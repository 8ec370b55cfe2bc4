"""What must not disturb a game, get lost, happen twice or stay behind."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import docker
import pytest

from manman import clock
from manman.bus.publisher import Publisher
from manman.messages.commands import File, Volume
from manman.messages.status import SessionReported
from manman_devstack.eventually import eventually
from manman_host import heartbeat
from manman_host.announcer import Announcer
from manman_host.identity import Identity

if TYPE_CHECKING:
    from conftest import World


@pytest.mark.usefixtures("host_here")
async def test_a_stop_ends_a_start_that_waits_for_the_session_before_it(world: World) -> None:
    await world.start(1)
    await world.reported("running", 1)
    await world.start(2)
    await world.stop(2)
    assert (await world.reported("stopped", 2, timeout_s=10)).reason == "stopped"
    assert world.game().status == "running"
    await world.stop(1, force=True)
    await world.reported("stopped", 1)
    await world.start(3)
    await world.reported("running", 3)


@pytest.mark.usefixtures("host_here")
async def test_a_start_does_not_wait_beyond_its_deadline_for_the_session_before_it(world: World) -> None:
    await world.start(1)
    await world.reported("running", 1)
    await world.start(2, deadline_at=clock.now() + timedelta(seconds=1))
    assert (await world.reported("crashed", 2, timeout_s=10)).reason == "deployment_busy"
    assert world.game().status == "running"


@pytest.mark.usefixtures("host_here")
async def test_nothing_of_a_game_that_still_runs_is_touched_by_the_start_after_it(world: World) -> None:
    labels = {
        "manman.managed_by": "manman-host",
        "manman.server_id": str(world.server_id),
        "manman.environment": world.environment,
        "manman.sgc_id": "41",
        "manman.session_id": "77",
    }
    for kind in ("game", "wrapper"):
        world.engine.containers.run(
            world.image, ["sleep", "60"], detach=True, init=True, labels={**labels, "manman.type": kind}
        )
    file = world.folder / f"sgc-{world.environment}-41" / "conf" / "game.cfg"
    file.parent.mkdir(parents=True)
    file.write_text("of the running game")
    volume, content = Volume(name="conf", container_path="/srv/conf"), File(path="/srv/conf/game.cfg", content="new")
    await world.start(config={"volumes": [volume], "files": [content]})
    assert (await world.reported("crashed")).reason == "deployment_busy"
    assert file.read_text() == "of the running game"
    assert len(world.containers(session_id="77")) == 2


@pytest.mark.usefixtures("host_here")
async def test_a_volume_without_a_name_goes_with_its_session(world: World) -> None:
    template = world.engine.containers.create(world.image, labels={"manman.environment": world.environment})
    image = template.commit("manman-test-volume", changes=["VOLUME /var/own", "USER games"])
    try:
        await world.start(config={"image": "manman-test-volume:latest"})
        await world.reported("running")
        (volume,) = [mount["Name"] for mount in world.game().attrs["Mounts"] if mount["Type"] == "volume"]
        template.remove()
        await world.stop(force=True)
        await world.clean()
        with pytest.raises(docker.errors.NotFound):
            world.engine.volumes.get(volume)
    finally:
        world.remove_everything()
        world.engine.images.remove(str(image.id), force=True)


@pytest.mark.usefixtures("host_here")
async def test_an_input_that_is_delivered_twice_is_typed_once(world: World) -> None:
    await world.start()
    await world.reported("running")
    for _ in range(2):
        await world.type("once\n", message_id="m1")
    await world.type("last\n")
    lines = await world.lines_until("got last")
    assert [line.message for line in lines if line.message.startswith("got")] == ["got once", "got last"]


@pytest.mark.usefixtures("host_here")
async def test_an_input_that_a_hanging_wrapper_does_not_answer_is_not_tried_again(world: World) -> None:
    await world.start()
    await world.reported("running")
    (wrapper,) = world.containers(type="wrapper")
    wrapper.pause()
    await world.type("late\n")
    queue = f"host-{world.server_id}-commands-dlq"

    async def is_dead_lettered() -> None:
        async with world.connection.channel() as channel:
            found = await channel.declare_queue(queue, passive=True)
            assert found.declaration_result.message_count == 1

    try:
        await eventually(is_dead_lettered, timeout_s=25)
    finally:
        wrapper.unpause()


@pytest.mark.usefixtures("host_here")
async def test_a_session_whose_folder_was_removed_can_still_be_stopped(world: World) -> None:
    await world.start(stop_command="quit", stop_timeout_seconds=10)
    await world.reported("running")
    shutil.rmtree(world.folder / f"session-{world.environment}-1")
    (wrapper,) = world.containers(type="wrapper")
    wrapper.kill()
    await world.stop()
    stopped = await world.reported("stopped", timeout_s=40)
    assert (stopped.exit_code, stopped.reason) == (0, "stopped")
    await world.clean()


async def test_a_session_that_never_ran_is_not_remembered_for_ever(world: World) -> None:
    async with Publisher(world.connection) as publisher, asyncio.TaskGroup() as group:
        announcer = Announcer(publisher, Identity(world.server_id, "test", "", uuid4()))
        telling = group.create_task(announcer.run())
        await announcer.confirmed(announcer.session(SessionReported(session_id=5, status="crashed")))
        assert not announcer.known_status(5)
        telling.cancel()


async def test_a_hanging_engine_does_not_stop_the_heartbeat(world: World) -> None:
    async def hang() -> Any:
        await asyncio.Event().wait()

    async with Publisher(world.connection) as publisher, asyncio.TaskGroup() as group:
        beating = group.create_task(
            heartbeat.beat(
                publisher,
                Identity(world.server_id, "test", "", uuid4()),
                interval_s=0.2,
                public_address="",
                inventory=list,
                measure=hang,
                take_samples=lambda: None,
            )
        )
        await eventually(lambda: len(world.heartbeats) >= 2)
        beating.cancel()


@pytest.mark.usefixtures("host_here")
async def test_a_start_that_comes_after_its_stop_starts_nothing(world: World) -> None:
    await world.stop(session_id=98)
    await world.reported("stopped", 98)
    await world.start(98)
    assert (await world.reported("stopped", 98, count=2)).reason == "not_found"
    assert not world.containers()
