import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.configs import Volume
from manman.domain.parameters import Declared
from manman.domain.ports import WantedPort
from manman.domain.rendering import FileTemplate
from manman.domain.sessions import LIVE, Status
from manman.errors import Conflict, Invalid, NotFound
from manman.messages.codec import decode
from manman.messages.commands import Isolation, StartSession, StopSession
from manman.messages.external import SessionEvent
from manman.messages.status import OutputLine
from manman_api.handlers import servers, sessions, volumes
from manman_api.paging import Page
from manman_api.rpc import present


async def start(world: Any, row: Any, *, force: bool = False, now: datetime | None = None, **values: Any) -> Any:
    return await sessions.start_session(
        deployment_id=row.sgc_id,
        parameters=values,
        force=force,
        timeout_s=60,
        now=now or world.now,
        uow=world.uow,
    )


async def stop(world: Any, run: Any, *, force: bool = False) -> Any:
    return await sessions.stop_session(
        session_id=run.session_id, force=force, requested_by="ann", now=world.now, uow=world.uow
    )


async def become(world: Any, run: Any, status: str) -> None:
    async with world.uow() as tx:
        row = await tx.sessions.lock(run.session_id)
        await transitions.apply(tx, row, Change(status=Status(status)), now=world.now)
        await tx.commit()


async def stored(world: Any, run: Any) -> Any:
    async with world.uow() as tx:
        return await tx.sessions.get(run.session_id)


async def status_of(world: Any, run: Any) -> str:
    return (await sessions.get_session(session_id=run.session_id, uow=world.uow)).status


async def listed(world: Any, page: Page | None = None, **filters: Any) -> list[int]:
    plain = {"deployment_id": 0, "server_id": 0, "statuses": (), "live_only": False}
    times = {"started_after": None, "started_before": None}
    runs, _ = await sessions.list_sessions(page=page or Page(), uow=world.uow, **{**plain, **times, **filters})
    return [run.session_id for run in runs]


async def outbox(world: Any) -> list[Any]:
    """Return the messages about sessions."""
    async with world.uow() as tx:
        return [row for row in await tx.outbox.unpublished(limit=100) if ".session." in row.routing_key]


async def test_a_start_is_a_pending_row_and_a_command_with_a_deadline(world: Any) -> None:
    config = await world.config(
        args_template="--motd={{motd}} --x={{nope}}",
        env_template={"PLAYERS": "{{players}}"},
        command=["run", "{{players}}"],
        files=[
            FileTemplate(path="/a", content="{{motd}}", is_template=True),
            FileTemplate(path="/b", content="{{motd}}"),
        ],
        parameters=[
            Declared(key="players", type="int", default_value="20"),
            Declared(key="motd", default_value="hello"),
            Declared(key="pw", type="secret"),
        ],
        resources={"memory_mb": 512, "cpu_millicores": 250, "pids_limit": 99},
        stop_command="say {{motd}}",
        stop_timeout_seconds=20,
        stop_signal="SIGINT",
        isolation={"read_only_root": True, "extra_capabilities": ["SYS_NICE"], "with_init": True},
    )
    volume = Volume(name="data", container_path="/data", read_only=True)
    await volumes.create_volume(config_id=config.config_id, volume=volume, uow=world.uow)
    row = await world.deploy(
        await world.host(), config, WantedPort(container_port=7, protocol="udp"), values={"motd": "hi", "players": "5"}
    )

    run = await start(world, row, players="9")

    assert (run.status, run.server_id, run.parameters) == ("pending", row.server_id, {"players": "9"})
    deadline = (await stored(world, run)).deadline_at
    assert deadline == world.now + timedelta(seconds=60)
    (message,) = await outbox(world)
    assert (message.routing_key, message.mandatory) == (f"command.host.{row.server_id}.session.start", True)
    assert (message.session_id, message.expires_at) == (run.session_id, deadline)
    command = decode(StartSession, message.body)
    game = command.game_config
    assert (command.session_id, command.sgc_id, command.force) == (run.session_id, row.sgc_id, False)
    assert (game.args_template, game.env_template, game.command) == (
        "--motd=hi --x={{nope}}",
        {"PLAYERS": "9"},
        ["run", "9"],
    )
    assert [(file.path, file.content, file.is_template) for file in game.files] == [
        ("/a", "hi", False),
        ("/b", "{{motd}}", False),
    ]
    assert command.parameters == {"players": "9", "motd": "hi", "pw": ""}
    assert [(port.host_port, port.protocol) for port in command.server_game_config.port_bindings] == [(27000, "UDP")]
    assert [(mount.name, mount.read_only) for mount in game.volumes] == [("data", True)]
    assert (command.stop_command, command.stop_timeout_seconds, command.stop_signal) == ("say hi", 20, "SIGINT")
    assert (command.resources.memory_mb, command.resources.pids) == (512, 99)
    assert command.isolation == Isolation(read_only_root=True, extra_capabilities=["SYS_NICE"], init=True)
    assert (command.issued_at, command.deadline_at) == (world.now, deadline)


async def test_a_second_start_is_refused_and_names_the_first(world: Any) -> None:
    row = await world.deployment()
    run = await start(world, row)

    with pytest.raises(Conflict, match=rf"live session {run.session_id} \(pending\); stop it first, or start with"):
        await start(world, row)

    assert len(await outbox(world)) == 1


@pytest.mark.parametrize("status", ["crashed", "stopped", "completed", "lost"])
async def test_what_has_ended_does_not_block_a_start(world: Any, status: str) -> None:
    row = await world.deployment()
    await become(world, await start(world, row), status)

    assert (await start(world, row)).status == "pending"


async def test_force_supersedes_the_live_session_and_tells_the_host(world: Any) -> None:
    row = await world.deployment()
    first = await start(world, row)
    await become(world, first, "running")

    second = await start(world, row, force=True)

    old = await stored(world, first)
    assert (old.status, old.status_reason, old.ended_at) == ("stopped", "superseded", world.now)
    messages = await outbox(world)
    event = decode(SessionEvent, messages[-2].body)
    assert (messages[-2].routing_key, event.session_id) == ("manman.session.stopped", first.session_id)
    assert (event.previous_status, event.reason) == ("running", "superseded")
    command = decode(StartSession, messages[-1].body)
    assert (command.session_id, command.force) == (second.session_id, True)


async def test_of_twenty_starts_at_once_one_wins(world: Any) -> None:
    row = await world.deployment()

    results = await asyncio.gather(*(start(world, row) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(result, Conflict) for result in results) == 19
    assert len(await listed(world, live_only=True)) == 1
    assert len(await outbox(world)) == 1


async def test_of_twenty_forced_starts_at_once_one_stays_live(world: Any) -> None:
    row = await world.deployment()

    results = await asyncio.gather(*(start(world, row, force=True) for _ in range(20)), return_exceptions=True)

    assert not [result for result in results if isinstance(result, BaseException)]
    assert len(await listed(world, live_only=True)) == 1
    assert len(await listed(world, statuses=["stopped"])) == 19


async def test_a_start_on_an_offline_host_tells_when_it_was_last_seen(world: Any) -> None:
    row = await world.deployment()
    values = {"name": "", "status": "offline", "is_default": False}
    await servers.update_server(server_id=row.server_id, values=values, update_paths=[], now=world.now, uow=world.uow)

    with pytest.raises(Conflict, match="offline and was last seen at 2026-07-18T10:00:00Z"):
        await start(world, row)


async def test_parameters_are_checked_before_anything_is_written(world: Any) -> None:
    declared = [Declared(key="n", type="int", default_value="1"), Declared(key="b", type="bool")]
    row = await world.deployment(parameters=declared)

    with pytest.raises(Invalid) as refused:
        await start(world, row, n="twenty", b="perhaps")

    assert [problem.field for problem in refused.value.problems] == ["parameters.n", "parameters.b"]
    assert (await listed(world), await outbox(world)) == ([], [])


async def test_an_unknown_deployment_or_session_is_not_found(world: Any) -> None:
    row = await world.deployment()
    run = await start(world, row)
    row.sgc_id = 99
    with pytest.raises(NotFound, match="deployment 99"):
        await start(world, row)
    with pytest.raises(NotFound, match="session 99"):
        await stop(world, run._replace(session_id=99))


@pytest.mark.parametrize("before", ["pending", "starting", "running"])
async def test_stopping_is_a_state_and_a_command(world: Any, before: str) -> None:
    run = await start(world, await world.deployment())
    if before != "pending":
        await become(world, run, before)

    stopped = await stop(world, run)

    assert (stopped.status, stopped.status_reason) == ("stopping", "stop_requested")
    row = await stored(world, run)
    assert (row.stop_requested_at, row.stop_requested_by) == (world.now, "ann")
    message = (await outbox(world))[-1]
    assert message.routing_key == f"command.host.{run.server_id}.session.stop"
    assert decode(StopSession, message.body) == StopSession(session_id=run.session_id, issued_at=world.now)


async def test_stopping_twice_sends_one_command_and_force_one_more(world: Any) -> None:
    run = await start(world, await world.deployment())

    for force in (False, False, True):
        await stop(world, run, force=force)

    commands = [decode(StopSession, message.body).force for message in (await outbox(world))[1:]]
    assert commands == [False, True]


@pytest.mark.parametrize("status", ["stopped", "crashed", "completed"])
async def test_stopping_what_has_ended_changes_nothing(world: Any, status: str) -> None:
    run = await start(world, await world.deployment())
    await become(world, run, status)
    before = len(await outbox(world))

    assert (await stop(world, run)).status == status
    assert len(await outbox(world)) == before


async def test_stopping_a_lost_session_tries_again(world: Any) -> None:
    run = await start(world, await world.deployment())
    await become(world, run, "lost")

    assert (await stop(world, run)).status == "stopping"


async def test_stopping_a_lost_session_whose_place_is_taken_leaves_it_lost(world: Any) -> None:
    row = await world.deployment()
    run = await start(world, row)
    await become(world, run, "lost")
    await start(world, row)

    await stop(world, run)

    assert await status_of(world, run) == "lost"
    assert (await outbox(world))[-1].routing_key.endswith("session.stop")


async def test_stops_and_starts_racing_leave_at_most_one_live(world: Any) -> None:
    row = await world.deployment()
    run = await start(world, row)

    await asyncio.gather(
        *(stop(world, run) for _ in range(10)),
        *(start(world, row, force=True) for _ in range(10)),
    )

    assert len(await listed(world, statuses=LIVE)) == 1


async def test_filters_must_all_hold(world: Any) -> None:
    config = await world.config()
    here = await world.deploy(await world.host("a"), config)
    there = await world.deploy(await world.host("b"), config)
    old = await start(world, here)
    await become(world, old, "running")
    await become(world, old, "crashed")
    new = await start(world, here)
    other = await start(world, there)
    old_id, new_id, other_id = (run.session_id for run in (old, new, other))
    second = timedelta(seconds=1)

    assert await listed(world) == [other_id, new_id, old_id]
    assert await listed(world, deployment_id=here.sgc_id) == [new_id, old_id]
    assert await listed(world, server_id=there.server_id) == [other_id]
    assert await listed(world, statuses=["crashed", "pending"], server_id=here.server_id) == [new_id, old_id]
    assert await listed(world, live_only=True) == [other_id, new_id]
    assert await listed(world, live_only=True, statuses=["crashed"]) == []
    assert await listed(world, started_after=world.now - second, started_before=world.now + second) == [old_id]
    assert await listed(world, started_after=world.now) == []
    assert await listed(world, started_before=world.now) == []
    assert await listed(world, page=Page(1, 1)) == [new_id]


async def test_input_needs_a_running_session_and_a_sensible_size(world: Any) -> None:
    run = await start(world, await world.deployment())

    async def send(data: bytes) -> None:
        await sessions.send_input(session_id=run.session_id, data=data, timeout_s=1, uow=world.uow, requests=None)

    with pytest.raises(Conflict, match="is pending; input needs a running one"):
        await send(b"x")
    for data in (b"", b"x" * (64 * 1024 + 1)):
        with pytest.raises(Invalid, match="input: send 1 to 65536 bytes"):
            await send(data)


async def test_a_crash_is_read_with_its_last_lines_and_nothing_else_has_one(world: Any) -> None:
    run = await start(world, await world.deploy(await world.host(), await world.config()))
    with pytest.raises(NotFound):
        await sessions.get_crash(session_id=run.session_id, uow=world.uow)
    change = Change(
        status=Status.CRASHED,
        exit_code=137,
        signal=9,
        oom_killed=True,
        last_lines=[OutputLine(message="out of memory", timestamp=7, source="stderr")],
    )
    async with world.uow() as tx:
        await transitions.apply(tx, await tx.sessions.lock(run.session_id), change, now=world.now)
        await tx.commit()
    shown = present.crash(await sessions.get_crash(session_id=run.session_id, uow=world.uow))
    assert (shown.exit_code, shown.signal, shown.oom_killed) == (137, 9, True)
    assert [(line.timestamp, line.source, line.message) for line in shown.lines] == [(7, "stderr", "out of memory")]
