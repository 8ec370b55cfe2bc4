"""An engine that hangs up, a disk that is full, a game that does not read: the game goes on, and nothing is stuck."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from manman.errors import Conflict
from manman_wrapper.container import wait_for_exit
from manman_wrapper.docker_game import DockerGame
from manman_wrapper.docker_http import DockerHttp, EngineAwayError, Stdin
from manman_wrapper.state import StateFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import docker

    from manman_wrapper.log_reader import Limits

ECHO = 'echo ready; while read line; do echo got $line; [ "$line" = quit ] && exit 0; done'


class FlakyEngine:
    """The engine behind a socket of its own that hangs up when told to."""

    def __init__(self, engine_socket: str) -> None:
        self._engine_socket = engine_socket
        self._faults: list[tuple[str, bool]] = []
        self._calls: set[asyncio.Task[Any]] = set()

    def hang_up(self, path_end: str, *, times: int = 1, after_the_engine_did_it: bool = False) -> None:
        """Do that to the next calls whose path ends so."""
        self._faults += [(path_end, after_the_engine_did_it)] * times

    async def end(self) -> None:
        """Hang up everywhere."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].partition(b"?")[0].decode()
        fault = next((fault for fault in self._faults if path.endswith(fault[0])), None)
        if fault is not None:
            self._faults.remove(fault)
            if not fault[1]:
                writer.close()
                return
        from_engine, to_engine = await asyncio.open_unix_connection(self._engine_socket)
        to_engine.write(head)
        try:
            if fault is not None:
                if b"Content-Length: 0" not in head:
                    to_engine.write(await reader.read(65536))
                await from_engine.readuntil(b"\r\n\r\n")
                return
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(pump(reader, to_engine))
                await pump(from_engine, writer)
                sending.cancel()
        finally:
            to_engine.close()
            writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()


def request(image: str, script: str) -> dict[str, Any]:
    return {
        "Image": image,
        "Cmd": ["/bin/bash", "-c", script],
        "Labels": {"manman.session_id": "7"},
        "OpenStdin": True,
        "StdinOnce": False,
    }


async def until_line(game: DockerGame, text: bytes) -> None:
    while not any(line.data == text for line in game.output.tail.after(0, 1000)):
        await game.changed()


@pytest.fixture
async def flaky(folder: Path, socket_path: str) -> AsyncIterator[FlakyEngine]:
    engine = FlakyEngine(socket_path)
    async with await asyncio.start_unix_server(engine.serve, folder / "e.sock"):
        yield engine
        await engine.end()


@pytest.fixture
def make(flaky: FlakyEngine, folder: Path, limits: Limits) -> Any:
    assert flaky
    return lambda: DockerGame(DockerHttp(str(folder / "e.sock")), StateFile(folder / "state.json", 7), limits)


async def test_a_game_that_is_not_started_yet_has_not_ended_when_the_engine_hangs_up(
    flaky: FlakyEngine, folder: Path, name: str, image: str, engine: docker.DockerClient
) -> None:
    container = engine.containers.create(image, ["/bin/sh", "-c", "sleep 1"], name=name)
    flaky.hang_up("/wait")
    registered = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_for_exit(DockerHttp(str(folder / "e.sock")), str(container.id), registered))
        await registered.wait()
        await asyncio.to_thread(container.start)
        await waiting
    container.reload()
    assert container.status == "exited"


@pytest.mark.parametrize(
    ("call", "done"),
    [("/containers/create", True), ("/attach", False), ("/wait", False), ("/start", False), ("/start", True)],
    ids=["created unseen", "attach", "wait", "start", "started unseen"],
)
async def test_a_start_during_which_the_engine_hangs_up_ends_with_one_running_game(
    make: Any, flaky: FlakyEngine, name: str, image: str, call: str, *, done: bool
) -> None:
    flaky.hang_up(call, after_the_engine_did_it=done)
    async with make() as game:
        await game.start(name, request(image, ECHO))
        assert game.state.status == "running"
        await game.send_input(b"hello\n")
        await until_line(game, b"got hello")
        await game.stop(command="quit", grace_s=10, stop_signal="")
        assert (game.state.status, game.state.exit_code) == ("stopped", 0)


async def test_a_stop_waits_for_an_engine_that_is_away(make: Any, flaky: FlakyEngine, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "trap 'exit 0' TERM; echo up; while true; do sleep 0.1; done"))
        await until_line(game, b"up")
        flaky.hang_up("/kill", times=2)
        state = await game.stop(command="", grace_s=5, stop_signal="")
        assert (state.status, state.reason) == ("stopped", "stopped")


async def test_a_stop_that_is_asked_for_twice_is_told_to_the_game_once(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, "read a; echo first $a; read -t 1 b; echo second $b; exit 0"))
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(game.stop(command="quit", grace_s=20, stop_signal=""))
        assert [line.data for line in game.output.tail.after(0, 9)] == [b"first quit", b"second"]


async def test_a_refused_signal_leaves_the_game_as_it_was(make: Any, name: str, image: str) -> None:
    async with make() as game:
        await game.start(name, request(image, ECHO))
        with pytest.raises(Conflict, match="SIGNONE"):
            await game.stop(command="", grace_s=1, stop_signal="SIGNONE")
        assert (game.state.status, game.state.asked_to) == ("running", "")


async def test_a_disk_that_takes_no_state_does_not_keep_a_game_from_being_stopped(
    make: Any, folder: Path, name: str, image: str
) -> None:
    async with make() as game:
        await game.start(name, request(image, ECHO))
        (folder / "state.new").mkdir()
        state = await game.stop(command="quit", grace_s=10, stop_signal="")
        assert (state.status, state.exit_code) == ("stopped", 0)


async def test_input_does_not_pile_up_for_a_game_that_does_not_read(folder: Path) -> None:
    async def never_read(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    async with await asyncio.start_unix_server(never_read, folder / "n.sock", limit=1):
        reader, writer = await asyncio.open_unix_connection(folder / "n.sock")
        stdin = Stdin(reader, writer)
        sizes = []
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stdin.write(bytes(2_000_000))
            sizes.append(writer.transport.get_write_buffer_size())
        assert sizes[0] == sizes[-1]
        stdin.close()
        for other in held:
            other.close()


async def test_an_engine_is_out_of_reach_only_when_nothing_connected_for_that_long(
    folder: Path, socket_path: str
) -> None:
    away = DockerHttp(str(folder / "none.sock"))
    with pytest.raises(EngineAwayError):
        await away.call("GET", "/_ping")
    await asyncio.wait_for(away.out_of_reach(0.2), 5)
    back = DockerHttp(str(folder / "engine.sock"))
    with pytest.raises(EngineAwayError):
        await back.call("GET", "/_ping")
    (folder / "engine.sock").symlink_to(socket_path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(back.out_of_reach(0.2), 1)
