from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from manman.errors import Conflict
from manman_wrapper.docker_game import DockerGame
from manman_wrapper.exit_reason import NOT_KNOWN
from manman_wrapper.log_reader import Limits
from manman_wrapper.state import StateFile

if TYPE_CHECKING:
    from pathlib import Path

    import docker

    from manman_wrapper.docker_http import DockerHttp
    from manman_wrapper.output import Line

ECHO = 'echo ready; while read line; do echo got $line; [ "$line" = quit ] && exit 0; done'


def request(image: str, script: str, **host: Any) -> dict[str, Any]:
    return {
        "Image": image,
        "Cmd": ["/bin/sh", "-c", script],
        "Labels": {"manman.session_id": "7", "manman.type": "game"},
        "OpenStdin": True,
        "StdinOnce": False,
        "HostConfig": host,
    }


async def until_status(game: DockerGame, *wanted: str) -> None:
    while game.state.status not in wanted:
        await game.changed()


async def until_line(game: DockerGame, text: bytes) -> Line:
    while True:
        for line in game.output.tail.after(0, 100_000):
            if line.data == text:
                return line
        await game.changed()


@pytest.fixture
def make(docker_http: DockerHttp, folder: Path, limits: Limits) -> Any:
    return lambda: DockerGame(docker_http, StateFile(folder / "state.json", 7), limits)


async def test_input_reaches_the_game_and_its_answer_comes_back_numbered(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, ECHO))
        assert game.state.status == "running"
        await until_line(game, b"ready")
        await game.send_input(b"hello\n")
        line = await until_line(game, b"got hello")
        assert line.seq == 2
        assert line.timestamp_ms > 0


async def test_a_game_that_ends_at_once_has_its_exit_code_and_its_lines(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "echo bye; echo err >&2; exit 3"))
        await until_status(game, "crashed")
        assert (game.state.exit_code, game.state.reason) == (3, "exited")
        assert sorted((line.data, line.is_stderr) for line in game.output.tail.after(0, 9)) == [
            (b"bye", False),
            (b"err", True),
        ]
        assert game.output.ended


async def test_a_second_start_is_the_same_game(make: Any, name: str, image: str) -> None:
    async with make() as game:
        first = await game.start(name, request(image, ECHO))
        assert await game.start(name, request(image, ECHO)) == first


async def test_a_stop_command_ends_the_game_gracefully(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, ECHO))
        state = await game.stop(command="quit", grace_s=10, stop_signal="")
        assert (state.status, state.exit_code, state.reason) == ("stopped", 0, "stopped")


async def test_a_game_that_ignores_its_signal_is_killed_after_the_grace(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "trap '' TERM; echo up; while true; do sleep 1; done"))
        await until_line(game, b"up")
        state = await game.stop(command="", grace_s=0.5, stop_signal="SIGTERM")
        assert (state.status, state.exit_code, state.reason) == ("stopped", 137, "killed")


async def test_a_game_killed_by_somebody_else_crashed_by_that_signal(
    make: Any, name: str, image: str, engine: docker.DockerClient
) -> None:
    async with make() as game:
        container_id = await game.start(name, request(image, ECHO))
        engine.containers.get(container_id).kill()
        await until_status(game, "crashed")
        assert (game.state.reason, game.state.signal) == ("signal", 9)


async def test_a_game_over_its_memory_limit_crashed_by_that(make: Any, name: str, image: str) -> None:
    async with make() as game:
        hungry = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"
        await game.start(name, request(image, hungry, Memory=16_000_000, MemorySwap=16_000_000))
        await until_status(game, "crashed")
        assert (game.state.reason, game.state.oom_killed) == ("oom", True)


async def test_a_restarted_wrapper_goes_on_with_the_same_numbers(make: Any, name: str, image: str) -> None:
    script = "seq 1 300; while read line; do echo got $line; done"
    async with make() as game:
        await game.start(name, request(image, script))
        await until_line(game, b"300")
        await game.send_input(b"one\n")
        before = await until_line(game, b"got one")
    async with make() as game:
        await until_status(game, "running")
        assert await until_line(game, b"got one") == before
        await game.send_input(b"two\n")
        after = await until_line(game, b"got two")
        assert after.seq == before.seq + 1
        assert [line.seq for line in game.output.tail.after(0, 1000)] == list(range(1, 303))


async def test_a_game_that_ended_while_the_wrapper_was_away_is_reported_with_its_code(
    make: Any, name: str, image: str, engine: docker.DockerClient
) -> None:
    async with make() as game:
        container_id = await game.start(name, request(image, "read line; echo last words; exit 5"))
        await game.send_input(b"go\n")
    engine.containers.get(container_id).wait()
    async with make() as game:
        await until_status(game, "crashed")
        assert game.state.exit_code == 5
        assert game.output.tail.after(0, 10)[-1].data == b"last words"


async def test_a_container_that_was_never_started_is_started_by_the_repeated_start(
    make: Any, name: str, image: str, engine: docker.DockerClient, folder: Path
) -> None:
    created = engine.api.create_container(
        image, ["/bin/sh", "-c", "echo up; sleep 60"], name=name, labels={"manman.session_id": "7"}
    )
    (folder / "state.json").write_text(f'{{"session_id":7,"status":"starting","container_id":"{created["Id"]}"}}')
    async with make() as game:
        await until_status(game, "pending")
        assert await game.start(name, request(image, "echo up; sleep 60")) == created["Id"]
        await until_line(game, b"up")


async def test_a_missing_image_is_refused_with_its_reason(make: Any, name: str) -> None:
    async with make() as game:
        with pytest.raises(Conflict, match="not on this host"):
            await game.start(name, request("no-such-image:latest", "true"))
        assert (game.state.status, game.state.reason) == ("crashed", "image_unavailable")


async def test_a_taken_port_is_refused_and_leaves_no_container(
    make: Any, name: str, image: str, engine: docker.DockerClient
) -> None:
    taken = engine.containers.run(image, ["/bin/sleep", "60"], detach=True, ports={"9/tcp": None}, name=f"{name}-other")
    taken.reload()
    port = taken.ports["9/tcp"][0]["HostPort"]
    wish = request(image, ECHO, PortBindings={"9/tcp": [{"HostPort": port}]})
    wish["ExposedPorts"] = {"9/tcp": {}}
    async with make() as game:
        with pytest.raises(Conflict, match=port):
            await game.start(name, wish)
        assert game.state.reason == "port_in_use"
    assert [found.name for found in engine.containers.list(all=True, filters={"name": name})] == [f"{name}-other"]


async def test_a_flood_never_stops_the_game_and_every_line_is_counted(
    docker_http: DockerHttp, folder: Path, name: str, image: str
) -> None:
    limits = Limits(lines_per_second=100, tail_lines=200_000, tail_bytes=100_000_000)
    async with DockerGame(docker_http, StateFile(folder / "state.json", 7), limits) as game:
        await game.start(name, request(image, "seq 1 20000; echo done"))
        await until_status(game, "stopped")
        lines = game.output.tail.after(0, 200_000)
        dropped = sum(line.skipped for line in lines)
        assert dropped > 0
        assert dropped + sum(1 for line in lines if not line.skipped) == 20_001


async def test_a_removed_container_is_a_crash_and_not_silence(
    make: Any, name: str, image: str, engine: docker.DockerClient
) -> None:
    async with make() as game:
        container_id = await game.start(name, request(image, ECHO))
        engine.containers.get(container_id).remove(force=True)
        await until_status(game, "crashed")
        assert (game.state.reason, game.state.exit_code) == ("vanished", NOT_KNOWN)


async def test_input_to_an_ended_game_is_refused(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "exit 0"))
        await until_status(game, "stopped")
        with pytest.raises(Conflict, match="takes no input"):
            await game.send_input(b"x\n")


async def test_a_start_whose_caller_hangs_up_goes_on_to_its_end(make: Any, name: str, image: str) -> None:
    async with make() as game:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await game.start(name, request(image, ECHO))
        await until_status(game, "running")
        await until_line(game, b"ready")


async def test_a_stop_whose_caller_hangs_up_goes_on_to_its_end(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "trap '' TERM; echo up; while true; do sleep 1; done"))
        await until_line(game, b"up")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await game.stop(command="", grace_s=1, stop_signal="")
        await until_status(game, "stopped")
