"""A migrated database, a broker of the test's own, and the few rows that everything hangs on."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine

from manman.bus.connection import Connection, connect
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher
from manman.db import transitions
from manman.db.engine import connected
from manman.db.models import Session
from manman.db.transitions import Change
from manman.db.unit_of_work import UnitOfWork
from manman.domain.sessions import Status
from manman.health import Health
from manman.messages.body import Body
from manman.messages.codec import encode
from manman_processor.dispatch import Dispatch
from manman_processor.relay import Relay
from manman_processor.settings import Settings

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class Desk:
    """Hands messages to the code under test, at a time that the test sets."""

    now = NOW

    def __init__(self, uow: UnitOfWork) -> None:
        self._dispatch = Dispatch(uow, inventory_grace_s=60, now=lambda: self.now)

    def wait(self, count: float) -> None:
        self.now += seconds(count)

    async def take(self, *messages: tuple[str, Body | bytes]) -> list[Exception | None]:
        return list(await self._dispatch.handle([delivery(key, body) for key, body in messages]))


def delivery(key: str, body: Body | bytes) -> Delivery:
    raw = body if isinstance(body, bytes) else encode(body)
    return Delivery(
        routing_key=key,
        body=raw,
        message_id=None,
        headers={},
        correlation_id=None,
        reply_to=None,
        redelivered=False,
    )


@dataclasses.dataclass(frozen=True)
class Database:
    """The database as an onlooker sees it, apart from the code under test."""

    url: str

    def rows(self, query: str, *values: object) -> list[dict[str, object]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def session(self, session_id: int) -> dict[str, object]:
        (row,) = self.rows("SELECT * FROM sessions WHERE session_id = %s", session_id)
        return row

    def server(self, server_id: int) -> dict[str, object]:
        (row,) = self.rows("SELECT * FROM servers WHERE server_id = %s", server_id)
        return row

    def keys(self) -> list[str]:
        return [str(row["routing_key"]) for row in self.rows("SELECT routing_key FROM outbox ORDER BY id")]


@dataclasses.dataclass(frozen=True)
class World:
    """One host with as many deployments as there are sessions."""

    uow: UnitOfWork
    server_id: int
    game_id: int

    async def deploy(self) -> int:
        async with self.uow() as tx:
            count = len(await tx.deployments.list(server_id=self.server_id))
            config = await tx.configs.add(game_id=self.game_id, name=f"config {count}", image="openttd")
            row = await tx.deployments.add(server_id=self.server_id, game_config_id=config.config_id)
            await tx.commit()
            return row.sgc_id

    async def session(
        self, status: Status = Status.PENDING, *, at: datetime = NOW, sgc_id: int | None = None, **columns: object
    ) -> int:
        sgc_id = sgc_id or await self.deploy()
        async with self.uow() as tx:
            row = await tx.sessions.add(sgc_id=sgc_id, now=at)
            if status is not Status.PENDING:
                await transitions.apply(tx, row, Change(status=status), now=at)
            for name, value in columns.items():
                setattr(row, name, value)
            await tx.flush()
            await tx.commit()
        await self.forget_outbox()
        return row.session_id

    async def forget_outbox(self) -> None:
        async with self.uow() as tx:
            rows = await tx.outbox.unpublished(limit=1000)
        await self.uow.waiting.mark([row.id for row in rows], now=NOW)
        async with self.uow() as tx:
            await tx.outbox.delete_settled(before=NOW + seconds(1))
            await tx.commit()

    async def host(self, status: str, *, last_seen: datetime = NOW, offline_since: datetime | None = None) -> None:
        async with self.uow() as tx:
            row = await tx.servers.lock(self.server_id)
            row.status, row.last_seen, row.status_since = status, last_seen, offline_since
            await tx.commit()

    async def row(self, session_id: int) -> Session:
        async with self.uow() as tx:
            return await tx.sessions.get(session_id)


@pytest.fixture
def settings(database_url: str, amqp_url: str) -> Settings:
    return Settings(pg_database_url=database_url, rabbitmq_url=amqp_url, outbox_poll_seconds=0.1)


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(Settings(pg_database_url=database_url)) as made:
        yield made


@pytest.fixture
def uow(engine: AsyncEngine) -> UnitOfWork:
    return UnitOfWork(engine)


@pytest.fixture
async def world(uow: UnitOfWork) -> World:
    async with uow() as tx:
        server = await tx.servers.add(name="host", status="online", last_seen=NOW)
        game = await tx.games.add(name="OpenTTD")
        await tx.commit()
    return World(uow, server.server_id, game.game_id)


@pytest.fixture
def desk(uow: UnitOfWork) -> Desk:
    return Desk(uow)


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[Connection]:
    async with connect(settings, "test") as connection:
        yield connection


@pytest.fixture
async def publisher(broker: Connection) -> AsyncIterator[Publisher]:
    async with Publisher(broker) as made:
        yield made


@pytest.fixture
def relay(uow: UnitOfWork, broker: Connection, publisher: Publisher, settings: Settings) -> Relay:
    return Relay(
        uow,
        broker,
        publisher,
        database=settings,
        external_exchange=settings.external_exchange,
        poll_s=60,
        component=Health().component("relay"),
    )
