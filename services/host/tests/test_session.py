"""One session on one host: every way it can begin and end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from manman.messages import routing
from manman.messages.commands import File, PortBinding, Resources, ServerGameConfig, Volume
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import HostHere, World

pytestmark = pytest.mark.usefixtures("host_here")


async def test_a_session_starts_answers_input_and_stops_by_its_own_command(world: World) -> None:
    await world.start(stop_command="quit", stop_timeout_seconds=10)
    running = await world.reported("running")
    assert running.container_id == world.game().id
    assert running.image_digest
    assert running.started_at is not None
    assert running.sgc_id == 41
    phases = [report.phase for report in world.reports if report.status == "starting"]
    assert phases == ["accepted", "pull", "config", "create", "start"]
    await world.type("hello\n")
    await world.lines_until("got hello")
    await world.stop()
    stopped = await world.reported("stopped")
    assert (stopped.exit_code, stopped.reason, stopped.final_status) == (0, "stopped", "")
    lines = await world.lines_until("got quit")
    assert [line.seq for line in lines if line.source != "host"] == [1, 2, 3]
    assert [report.seq for report in world.reports] == sorted(report.seq for report in world.reports)
    await world.clean()


async def test_a_game_that_ends_by_itself_with_code_zero_is_completed(world: World) -> None:
    await world.start(script="echo done")
    stopped = await world.reported("stopped")
    assert (stopped.exit_code, stopped.reason, stopped.final_status) == (0, "exited", "completed")
    await world.reported("stopping")
    assert (await world.lines_until("done"))[-1].source == "stdout"
    await world.clean()


async def test_a_game_that_ends_at_once_with_another_code_crashed_and_its_lines_are_kept(world: World) -> None:
    await world.start(script="echo oh no >&2; exit 3")
    crashed = await world.reported("crashed")
    assert (crashed.exit_code, crashed.reason) == (3, "exited")
    lines = await world.lines_until("[manman] the game ended by itself with exit code 3")
    assert [line.message for line in lines if line.source == "stderr"] == ["oh no"]
    assert [(line.message, line.source) for line in crashed.last_lines] == [("oh no", "stderr")]
    assert crashed.last_lines[0].timestamp > 0


async def test_a_crash_brings_the_last_200_lines_with_the_longest_cut(world: World) -> None:
    script = "for n in $(seq 1 300); do echo line $n; done; head -c 60000 /dev/zero | tr '\\0' x; echo; exit 9"
    await world.start(script=script)
    crashed = await world.reported("crashed")
    *plain, first, second = [line.message for line in crashed.last_lines]
    assert plain == [f"line {number}" for number in range(103, 301)]
    assert (first.strip("x"), second.strip("x")) == ("", "")
    assert 32 * 1024 - 1 <= sum(len(line.message) for line in crashed.last_lines) <= 32 * 1024


async def test_a_killed_game_crashed_by_that_signal(world: World) -> None:
    await world.start()
    await world.reported("running")
    world.game().kill()
    crashed = await world.reported("crashed")
    assert (crashed.exit_code, crashed.reason, crashed.signal) == (137, "signal", 9)
    await world.clean()


async def test_a_game_beyond_its_memory_limit_crashed_by_that(world: World) -> None:
    await world.start(script="echo up; exec tail /dev/zero", resources=Resources(memory_mb=32))
    crashed = await world.reported("crashed")
    assert (crashed.reason, crashed.signal, crashed.oom_killed) == ("oom", 9, True)
    assert [line.message for line in crashed.last_lines] == ["up"]


async def test_force_kills_a_game_that_would_not_stop(world: World) -> None:
    await world.start(script="trap '' TERM; echo up; while true; do sleep 1; done")
    await world.reported("running")
    await world.stop()
    await world.reported("stopping")
    await world.stop(force=True)
    stopped = await world.reported("stopped", timeout_s=10)
    assert (stopped.exit_code, stopped.reason, stopped.signal) == (137, "killed", 9)
    assert not stopped.last_lines


async def test_files_env_limits_and_ports_reach_the_game(world: World) -> None:
    script = "cat /srv/conf/game.cfg; echo $COLOUR; cat /sys/fs/cgroup/memory/memory.limit_in_bytes; sleep 60"
    await world.start(
        script=script,
        config={
            "env_template": {"COLOUR": "green"},
            "volumes": [Volume(name="conf", container_path="/srv/conf")],
            "files": [File(path="/srv/conf/game.cfg", content="name = x\n")],
        },
        resources=Resources(memory_mb=64, cpu_millicores=500, pids=20),
        ports=[PortBinding(container_port=9, host_port=28871, protocol="UDP")],
    )
    await world.reported("running")
    lines = await world.lines_until(str(64 * 1024 * 1024))
    assert [line.message for line in lines if line.source == "stdout"][:2] == ["name = x", "green"]
    assert world.game().attrs["NetworkSettings"]["Ports"]["9/udp"][0]["HostPort"] == "28871"
    await world.stop(force=True)
    await world.reported("stopped")
    assert (world.folder / f"sgc-{world.environment}-41/conf/game.cfg").read_text() == "name = x\n"


async def test_files_go_into_named_volumes_too(world: World) -> None:
    await world.start(
        script="cat /data/a/game.cfg; sleep 60",
        config={
            "volumes": [Volume(name="data", container_path="/data", volume_type="named")],
            "files": [File(path="/data/a/game.cfg", content="named = yes\n")],
        },
    )
    await world.lines_until("named = yes")
    await world.stop(force=True)
    await world.clean()


async def test_settings_are_laid_over_the_file_that_the_game_has_in_either_kind_of_volume(world: World) -> None:
    first = File(path="/{}/a.ini", content="[S]\nkept=1\nset=1\n")
    second = File(path="/{}/a.ini", content="[S]\nset=2", merge="ini")
    for number, file in enumerate((first, second), start=1):
        files = [File(path=file.path.format(name), content=file.content, merge=file.merge) for name in ("b", "n")]
        volumes = [Volume(name="b", container_path="/b"), Volume(name="n", container_path="/n", volume_type="named")]
        script = f"cat /b/a.ini; echo; cat /n/a.ini; echo; echo shown {number}; sleep 60"
        await world.start(number, script=script, config={"volumes": volumes, "files": files})
        lines = await world.lines_until(f"shown {number}", number)
        await world.stop(number, force=True)
        await world.clean()
    shown = [line.message for line in lines if line.source == "stdout" and line.message]
    assert shown == ["[S]", "kept=1", "set=2"] * 2 + ["shown 2"]


async def test_a_repeated_start_is_the_same_game_and_is_answered_with_its_state(world: World) -> None:
    await world.start()
    await world.reported("running")
    before = world.game().id
    await world.start()
    await world.reported("running", count=2)
    assert world.game().id == before
    await world.stop(force=True)
    await world.reported("stopped")
    await world.clean()
    await world.start()
    await world.reported("stopped", count=2)
    assert not world.containers()


async def test_a_command_after_its_deadline_starts_nothing(world: World) -> None:
    await world.start(deadline_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert (await world.reported("crashed")).reason == "expired"
    assert not world.containers()


async def test_a_missing_image_says_what_to_do(world: World) -> None:
    await world.start(config={"image": "no-such-image:1"})
    crashed = await world.reported("crashed")
    assert crashed.reason == "image_unavailable"
    assert "no-such-image:1 is not on this host" in crashed.message
    await world.clean()


async def test_a_port_taken_by_a_stranger_is_named(world: World) -> None:
    stranger = world.engine.containers.run(
        world.image,
        ["sleep", "60"],
        detach=True,
        ports={"9/tcp": 28872},
        labels={"manman.environment": world.environment},
    )
    await world.start(ports=[PortBinding(container_port=9, host_port=28872)])
    crashed = await world.reported("crashed")
    assert crashed.reason == "port_in_use"
    assert "28872" in crashed.message
    await eventually(lambda: [found.id for found in world.containers()] == [stranger.id])


async def test_an_impossible_command_is_a_crash_with_every_problem(world: World) -> None:
    await world.start(config={"volumes": [Volume(name="x", container_path="../etc")]})
    crashed = await world.reported("crashed")
    assert crashed.reason == "invalid_command"
    assert "container_path" in crashed.message


async def test_a_stop_of_an_unknown_session_is_answered_with_stopped(world: World) -> None:
    await world.stop(session_id=99)
    assert (await world.reported("stopped", session_id=99)).reason == "not_found"


async def test_force_ends_the_session_before_it(world: World) -> None:
    await world.start(1)
    await world.reported("running", 1)
    await world.start(2, force=True)
    await world.reported("stopped", 1)
    await world.reported("running", 2)
    await world.stop(2, force=True)
    await world.reported("stopped", 2)


async def test_another_deployment_is_not_delayed(world: World) -> None:
    await world.start(1)
    other = world.start_command(2, sgc_id=42, server_game_config=ServerGameConfig(sgc_id=42))
    await world.send(routing.command_start(world.server_id), other)
    await world.reported("running", 1)
    await world.reported("running", 2)
    for session_id in (1, 2):
        await world.stop(session_id, force=True)
        await world.reported("stopped", session_id)


async def test_the_heartbeat_lists_what_runs(world: World) -> None:
    await world.start()
    await world.reported("running")

    def listed() -> bool:
        sessions = world.heartbeats[-1].sessions or []
        return [(one.session_id, one.status) for one in sessions] == [(1, "running")]

    await eventually(listed)
    first = world.heartbeats[0]
    assert first.capabilities is not None
    assert "wrapper" in first.features
    await world.stop(force=True)
    await eventually(lambda: world.heartbeats[-1].sessions == [])


async def test_a_host_that_ends_leaves_its_games_running(world: World, host_here: HostHere) -> None:
    await world.start()
    await world.reported("running")
    await host_here.end()
    assert world.game().status == "running"
    await host_here.start()
    recovered = await world.reported("running", count=2)
    assert recovered.recovered
    await world.stop(force=True)
    await world.reported("stopped")
