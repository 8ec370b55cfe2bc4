"""The api as a process: it works without a broker, ends in order on a signal, and refuses bad settings readably."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import pytest

from manman.v1 import games_pb2, logs_pb2
from manman.v1.api_pb2_grpc import ManManAPIStub
from manman.v1.log_processor_pb2_grpc import LogProcessorStub

Process = asyncio.subprocess.Process
Run = Callable[..., AbstractAsyncContextManager[tuple[Process, dict[str, int]]]]

OWN_PORTS = {"PORT": "0", "REST_PORT": "0", "HEALTH_CHECK_PORT": "0", "HEALTH_CHECK_HOST": "127.0.0.1"}


async def ports_of(process: Process) -> dict[str, int]:
    """Read the log until gRPC and REST are served; return their ports."""
    found: dict[str, int] = {}
    assert process.stdout is not None
    while len(found) < 2 and (line := await process.stdout.readline()):
        entry = json.loads(line)
        if entry["event"] in ("grpc_served", "rest_served"):
            found[entry["event"].removesuffix("_served")] = int(entry["address"].rpartition(":")[2])
    return found


def channel_to(ports: dict[str, int]) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}")


@pytest.fixture
def run(database_url: str, amqp_url: str) -> Run:
    """Return a context manager around `python -m manman_api`."""
    own = {"PG_DATABASE_URL": database_url, "RABBITMQ_URL": amqp_url, "LISTEN_HOST": "127.0.0.1", "LOG_FORMAT": "json"}

    @asynccontextmanager
    async def around(**more: str) -> AsyncIterator[tuple[Process, dict[str, int]]]:
        environment = {**os.environ, **own, **OWN_PORTS, **more}  # noqa: TID251 - the child needs PATH and the like
        pipe = asyncio.subprocess.PIPE
        program = (sys.executable, "-m", "manman_api")
        process = await asyncio.create_subprocess_exec(
            *program, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        try:
            yield process, await ports_of(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return around


async def test_a_signal_ends_it_in_order_even_with_viewers(run: Run, new_session: Callable[..., object]) -> None:
    session_id = await new_session()
    async with run() as (process, ports), channel_to(ports) as channel:
        view = LogProcessorStub(channel).StreamSessionLogs(logs_pb2.StreamSessionLogsRequest(session_id=session_id))
        await view.initial_metadata()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["rest"])
        writer.write(f"GET /v1/sessions/{session_id}/logs:stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200" in await reader.readline()

        process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(15):
            assert await process.wait() == 0
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await view.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        writer.close()


async def test_it_serves_while_the_broker_is_away(run: Run) -> None:
    async with run(RABBITMQ_URL="amqp://guest:guest@127.0.0.1:1/") as (_, ports), channel_to(ports) as channel:
        answer = await ManManAPIStub(channel).CreateGame(games_pb2.CreateGameRequest(name="g"), timeout=10)

    assert answer.game.game_id == 1


async def test_without_a_database_a_call_is_told_to_come_again(run: Run) -> None:
    async with run(PG_DATABASE_URL="postgresql://postgres@127.0.0.1:1/x") as (_, ports), channel_to(ports) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ManManAPIStub(channel).ListGames(games_pb2.ListGamesRequest(), timeout=10)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PORT", "many", "PORT"),
        ("DEFAULT_PORT_RANGE", "9-1", "27000-27999"),
        ("RABBITMQ_URL", "http://x", "amqp"),
        ("GRPC_AUTH_MODE", "password", "GRPC_AUTH_MODE is not valid"),
    ],
)
async def test_bad_settings_are_refused_by_name(variable: str, value: str, words: str) -> None:
    program = (sys.executable, "-m", "manman_api")
    environment = {**os.environ, variable: value}  # noqa: TID251 - the child needs PATH and the like
    process = await asyncio.create_subprocess_exec(
        *program, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )

    _, told = await process.communicate()

    assert process.returncode == 2
    assert words in told.decode()
