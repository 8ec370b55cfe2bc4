"""Whatever dies, and while nobody listens: how a session ended is told in the end, as it was."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from manman import clock
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher
from manman.messages.codec import encode
from manman.messages.commands import StopSession
from manman.messages.status import SessionReported
from manman_devstack.eventually import eventually
from manman_devstack.image_registry import ImageRegistry
from manman_host.announcer import MAX_WAITING, Announcer
from manman_host.docker_engine import DockerEngine
from manman_host.identity import Identity
from manman_host.session_folder import DataFolder
from manman_host.session_start import Parts
from manman_host.settings import Settings
from manman_host.supervisor import Supervisor

if TYPE_CHECKING:
    from conftest import HostProcess, World

    from manman.messages.body import Body
    from manman_devstack.rabbitmq import PrivateRabbitmq

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LAST_WORDS = "read code; echo last words; exit $code"


async def end_game(world: World, session_id: int, code: int) -> datetime:
    """Have the game of a session end with that code, past host and broker; return when it had."""
    (game,) = world.containers(type="game", session_id=str(session_id))
    stdin = game.attach_socket(params={"stdin": 1, "stream": 1})
    stdin._sock.sendall(f"{code}\n".encode())
    stdin._sock.close()
    stdin.close()

    def ended() -> bool:
        game.reload()
        return bool(game.status == "exited")

    await eventually(ended)
    return clock.now()


async def start(world: World, session_id: int) -> None:
    await world.start(session_id, LAST_WORDS, sgc_id=40 + session_id)
    await world.reported("running", session_id)


async def is_written_down(world: World, session_id: int) -> None:
    """Wait until the wrapper, which lives, has seen the end."""
    state = world.folder / f"session-{world.environment}-{session_id}" / "state.json"
    await eventually(lambda: '"status":"crashed"' in state.read_text())


async def test_a_host_killed_while_the_broker_is_away_tells_every_end_as_it_was(
    fragile_world: World, fragile_host: HostProcess, private_rabbitmq: PrivateRabbitmq
) -> None:
    world = fragile_world
    for session_id in (1, 2, 3):
        await start(world, session_id)
    await asyncio.to_thread(private_rabbitmq.kill)
    before = clock.now()
    ended = {1: await end_game(world, 1, 11)}  # the host sees this one, and cannot tell
    await is_written_down(world, 1)
    await fragile_host.kill()
    ended |= {session_id: await end_game(world, session_id, 10 + session_id) for session_id in (2, 3)}
    await is_written_down(world, 3)
    for container in world.containers(session_id="3"):  # somebody tidies up
        container.remove(force=True)
    await asyncio.to_thread(private_rabbitmq.start)
    await fragile_host.start()
    for session_id in (1, 2, 3):
        crashed = await world.reported("crashed", session_id, timeout_s=60)
        assert (crashed.exit_code, crashed.reason) == (10 + session_id, "exited")
        assert crashed.occurred_at is not None
        assert before <= crashed.occurred_at <= ended[session_id]
        if session_id != 3:
            assert [line.message for line in crashed.last_lines] == ["last words"]
    await world.clean()


async def test_a_start_that_failed_while_the_broker_was_away_is_told_by_the_next_life(
    fragile_world: World, fragile_host: HostProcess, private_rabbitmq: PrivateRabbitmq
) -> None:
    world = fragile_world
    await fragile_host.end()
    await fragile_host.start(IMAGE_PULL_POLICY="always")
    with ImageRegistry("nobody:knows") as registry:
        registry.opened.clear()
        await world.start(config={"image": registry.image})
        await world.reported("starting", count=2)
        await asyncio.to_thread(private_rabbitmq.kill)
        registry.opened.set()
        await eventually(lambda: registry.refusals)
        await fragile_host.kill()
        await asyncio.to_thread(private_rabbitmq.start)
        await fragile_host.start(IMAGE_PULL_POLICY="always")
        assert (await world.reported("crashed", timeout_s=60)).reason == "image_unavailable"
    await world.clean()


async def test_a_command_is_not_acknowledged_before_its_refusal_is_known(world: World) -> None:
    settings = Settings(host_data_dir=str(world.folder), environment=world.environment)
    identity = Identity(world.server_id, "test", world.environment, world.boot_id)
    data = DataFolder(inner=world.folder, outer=world.folder, environment=world.environment)
    async with Publisher(world.connection) as publisher:
        announcer = Announcer(publisher, identity)
        engine = DockerEngine(world.variables["DOCKER_HOST"])
        parts = Parts(settings, identity, engine, data, announcer, asyncio.Semaphore(1))
        commands: dict[str, Body] = {
            "start": world.start_command(5, deadline_at=LONG_AGO),
            "stop": StopSession(session_id=6),
        }
        async with Supervisor(parts, world.connection, publisher) as supervisor, asyncio.TaskGroup() as group:
            handling = [group.create_task(supervisor.handle(_delivery(key, body))) for key, body in commands.items()]
            done, _ = await asyncio.wait(handling, timeout=0.3)
            assert not done
            telling = group.create_task(announcer.run())
            await asyncio.wait_for(asyncio.gather(*handling), 10)
            telling.cancel()
    assert (await world.reported("crashed", 5)).reason == "expired"
    assert (await world.reported("stopped", 6)).reason == "not_found"


async def test_when_too_many_reports_wait_none_about_an_end_is_dropped(world: World) -> None:
    async with Publisher(world.connection) as publisher, asyncio.TaskGroup() as group:
        announcer = Announcer(publisher, Identity(world.server_id, "test", "", world.boot_id))
        announcer.session(SessionReported(session_id=1, status="crashed"))
        announcer.session(SessionReported(session_id=2, status="starting"))
        for _ in range(MAX_WAITING - 1):
            announcer.session(SessionReported(session_id=3, status="starting"))
        telling = group.create_task(announcer.run())
        await world.reported("crashed", 1)
        await world.reported("starting", 3)
        assert not [report for report in world.reports if report.session_id == 2]
        telling.cancel()


def _delivery(command: str, body: Body) -> Delivery:
    return Delivery(
        routing_key=f"command.host.1.session.{command}",
        body=encode(body),
        message_id=None,
        headers={},
        correlation_id=None,
        reply_to=None,
        redelivered=False,
    )
