"""The api under test: the real one in this process, on a fresh database and a fresh virtual host."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import grpc
import pytest

from manman import clock
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.settings import DatabaseSettings
from manman.v1 import api_pb2_grpc, log_processor_pb2_grpc
from manman_api.app import Addresses, serving
from manman_api.settings import Settings

T = TypeVar("T")

FIRST_DEATH = datetime(2026, 5, 1, 12, tzinfo=UTC)
"""When the first of the letters died that `put_away` stores; each further one, a second later."""


class Api:
    """A client of the api under test."""

    def __init__(self, addresses: Addresses, channel: grpc.aio.Channel) -> None:
        self.addresses = addresses
        self.channel = channel
        self.control: Any = api_pb2_grpc.ManManAPIStub(channel)
        self.logs: Any = log_processor_pb2_grpc.LogProcessorStub(channel)

    async def refusal(self, call: Any) -> tuple[grpc.StatusCode, str]:
        """Return how a call is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        return refused.value.code(), refused.value.details() or ""


def settings_for(database_url: str, amqp_url: str, **more: Any) -> Settings:
    values = {"pg_database_url": database_url, "rabbitmq_url": amqp_url, "listen_host": "127.0.0.1"}
    ports = {"port": 0, "rest_port": 0, "health_check_port": 0, "health_check_host": "127.0.0.1"}
    return Settings(**{**values, **ports, "log_idle_seconds": 0.1, "input_timeout_seconds": 1.0, **more})


@pytest.fixture
async def uow(database_url: str) -> AsyncIterator[UnitOfWork]:
    """Transactions on a fresh database."""
    settings = DatabaseSettings(pg_database_url=database_url, db_pool_size=20)
    async with connected(settings) as engine:
        yield UnitOfWork(engine)


@contextlib.asynccontextmanager
async def in_own_task(manager: contextlib.AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave `manager` in one task of its own, because a fixture's two halves run in different tasks."""
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def live() -> None:
        async with manager as given:
            entered.set_result(given)
            await stop.wait()

    life = asyncio.get_running_loop().create_task(live())
    await asyncio.wait([entered, life], return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        await life
    try:
        yield entered.result()
    finally:
        stop.set()
        await life


@contextlib.asynccontextmanager
async def served(database_url: str, amqp_url: str, **more: Any) -> AsyncIterator[Api]:
    """Serve an api."""
    async with (
        in_own_task(serving(settings_for(database_url, amqp_url, **more))) as addresses,
        grpc.aio.insecure_channel(f"127.0.0.1:{addresses.grpc}") as channel,
    ):
        yield Api(addresses, channel)


@pytest.fixture
async def api(database_url: str, amqp_url: str) -> AsyncIterator[Api]:
    """Serve an api that lets everybody in."""
    async with served(database_url, amqp_url) as running:
        yield running


@pytest.fixture
def new_session(uow: UnitOfWork) -> Callable[[], Awaitable[int]]:
    """Return a function that records a pending session on an online host."""

    async def make() -> int:
        async with uow() as tx:
            server = await tx.servers.add(name="host", status="online")
            game = await tx.games.add(name="game")
            config = await tx.configs.add(game_id=game.game_id, name="config", image="image")
            deployment = await tx.deployments.add(server_id=server.server_id, game_config_id=config.config_id)
            row = await tx.sessions.add(sgc_id=deployment.sgc_id, now=clock.now())
            await tx.commit()
            return row.session_id

    return make


@pytest.fixture
def put_away(uow: UnitOfWork) -> Callable[..., Awaitable[list[int]]]:
    """Return a function that stores dead letters as the processor does, and returns the ids in their order."""

    async def store(*letters: dict[str, Any]) -> list[int]:
        rows = []
        for number, letter in enumerate(letters):
            body = letter.get("body", b"{}")
            row = {
                "queue": "processor-events",
                "routing_key": "status.session.1",
                "message_id": f"m-{number}",
                "digest": hashlib.sha256(body).digest(),
                "reason": "NotFound",
                "error": "session 1 does not exist",
                "body": body,
                "size_bytes": len(body),
                "dead_at": FIRST_DEATH + timedelta(seconds=number),
            }
            rows.append({**row, **letter})
        async with uow() as tx:
            for row in rows:
                await tx.dead_letters.store([row])
            await tx.commit()
            return sorted(row.dead_letter_id for row in await tx.dead_letters.list(limit=1000))

    return store
