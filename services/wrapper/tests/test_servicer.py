"""The wrapper as its host meets it: a process behind a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from manman.v1 import sessions_pb2, values_pb2, wrapper_control_pb2_grpc
from manman.v1 import wrapper_control_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "t0ken"
AUTH = (("authorization", f"Bearer {TOKEN}"),)
Stub = wrapper_control_pb2_grpc.WrapperControlStub


class Wrapper:
    """A wrapper process that can be killed and started again on the same folder."""

    def __init__(self, folder: Path, engine_socket: str) -> None:
        self.socket = folder / "w.sock"
        self._environment = {
            **os.environ,  # noqa: TID251 - a child of the test
            "SESSION_ID": "7",
            "WRAPPER_TOKEN": TOKEN,
            "WRAPPER_SOCKET": str(self.socket),
            "DATA_DIR": str(folder),
            "DOCKER_SOCKET": engine_socket,
            "LOG_FORMAT": "console",
        }

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "manman_wrapper", env=self._environment
        )

    async def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        await self.process.wait()

    @contextlib.asynccontextmanager
    async def stub(self) -> AsyncIterator[Stub]:
        # Channels of one process share connections: this one must not be given that of a wrapper just killed.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"unix:{self.socket}", options) as channel:
            yield wrapper_control_pb2_grpc.WrapperControlStub(channel)


@pytest.fixture
async def wrapper(folder: Path, socket_path: str) -> AsyncIterator[Wrapper]:
    wrapper = Wrapper(folder, socket_path)
    await wrapper.start()
    yield wrapper
    if wrapper.process.returncode is None:
        await wrapper.end(signal.SIGTERM)


def plan(name: str, image: str, script: str) -> pb.StartRequest:
    return pb.StartRequest(
        session_id=7,
        plan=pb.GamePlan(
            container_name=name,
            image=image,
            command=["/bin/sh", "-c", script],
            env={"GREETING": "hello there"},
            labels={"manman.session_id": "7"},
            ports=[values_pb2.PortBinding(container_port=9, host_port=0, protocol="UDP")],
            memory_bytes=64_000_000,
            pids_limit=50,
        ),
    )


async def read_until(stub: Stub, text: bytes, since: int = 0) -> list[pb.StreamOutputResponse]:
    chunks = []
    call = stub.StreamOutput(pb.StreamOutputRequest(session_id=7, since_seq=since), metadata=AUTH)
    async for chunk in call:
        chunks.append(chunk)
        if chunk.data == text or (not text and chunk.eof):
            break
    call.cancel()
    return chunks


async def test_a_session_is_started_watched_talked_to_and_stopped(wrapper: Wrapper, name: str, image: str) -> None:
    async with wrapper.stub() as stub:
        watch = stub.WatchStatus(pb.WatchStatusRequest(session_id=7), metadata=AUTH, wait_for_ready=True)
        first = await watch.read()
        assert first.status.status == "pending"
        started = await stub.Start(plan(name, image, "echo $GREETING; while read x; do echo $x; done"), metadata=AUTH)
        assert started.success, started.error_message
        assert (await read_until(stub, b"hello there"))[-1].seq == 1
        sent = await stub.SendInput(sessions_pb2.SendInputRequest(session_id=7, input=b"ping\n"), metadata=AUTH)
        assert sent.success
        assert (await read_until(stub, b"ping", since=1))[-1].seq == 2
        status = await stub.GetStatus(pb.GetStatusRequest(session_id=7), metadata=AUTH)
        assert (status.status, status.is_running, status.last_seq) == ("running", True, 2)
        stopped = await stub.Stop(pb.StopRequest(session_id=7, grace_seconds=1), metadata=AUTH)
        assert stopped.success
        seen = [first.status.status]
        while seen[-1] != "stopped":
            seen.append((await watch.read()).status.status)
        assert seen[-2] == "stopping"
        assert (await read_until(stub, b""))[-1].eof
        watch.cancel()


async def test_a_caller_without_the_token_is_turned_away(wrapper: Wrapper) -> None:
    async with wrapper.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatus(pb.GetStatusRequest(session_id=7), wait_for_ready=True)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_another_sessions_call_is_refused(wrapper: Wrapper) -> None:
    async with wrapper.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatus(pb.GetStatusRequest(session_id=8), metadata=AUTH, wait_for_ready=True)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_killed_wrapper_comes_back_to_the_running_game_without_gap_or_duplicate(
    wrapper: Wrapper, name: str, image: str
) -> None:
    script = "seq 1 50; read x; seq 51 100; read x"
    async with wrapper.stub() as stub:
        await stub.Start(plan(name, image, script), metadata=AUTH, wait_for_ready=True)
        before = await read_until(stub, b"50")
    await wrapper.end(signal.SIGKILL)
    await wrapper.start()
    async with wrapper.stub() as stub:
        await stub.GetStatus(pb.GetStatusRequest(session_id=7), metadata=AUTH, wait_for_ready=True)
        while not (  # noqa: ASYNC110 - the other side of a socket sets no event
            await stub.SendInput(sessions_pb2.SendInputRequest(session_id=7, input=b"go\n"), metadata=AUTH)
        ).success:
            await asyncio.sleep(0.05)
        after = await read_until(stub, b"100", since=before[-1].seq)
    assert [(chunk.seq, chunk.data) for chunk in [*before, *after]] == [(n, str(n).encode()) for n in range(1, 101)]


async def test_a_stopped_wrapper_leaves_its_game_running(wrapper: Wrapper, name: str, image: str) -> None:
    async with wrapper.stub() as stub:
        await stub.Start(plan(name, image, "echo up; sleep 60"), metadata=AUTH, wait_for_ready=True)
    await wrapper.end(signal.SIGTERM)
    assert wrapper.process.returncode == 0
    await wrapper.start()
    async with wrapper.stub() as stub:
        status = await stub.GetStatus(pb.GetStatusRequest(session_id=7), metadata=AUTH, wait_for_ready=True)
        assert status.is_running
