"""A migrated database per test and the shortest way to a deployment."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.settings import DatabaseSettings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class World:
    """One host, one game, and deployments made on demand."""

    now = NOW

    def __init__(self, uow: UnitOfWork, server_id: int, game_id: int) -> None:
        self.uow = uow
        self.server_id = server_id
        self.game_id = game_id
        self.made = 0

    async def deploy(self) -> int:
        self.made += 1
        async with self.uow() as tx:
            config = await tx.configs.add(game_id=self.game_id, name=f"config {self.made}", image="openttd")
            row = await tx.deployments.add(server_id=self.server_id, game_config_id=config.config_id)
            await tx.commit()
            return row.sgc_id

    async def session(self, sgc_id: int | None = None) -> int:
        sgc_id = sgc_id or await self.deploy()
        async with self.uow() as tx:
            row = await tx.sessions.add(sgc_id=sgc_id, now=NOW)
            await tx.commit()
            return row.session_id


@pytest.fixture
def database_settings(database_url: str) -> DatabaseSettings:
    return DatabaseSettings(pg_database_url=SecretStr(database_url))


@pytest.fixture
async def engine(database_settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    async with connected(database_settings) as made:
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
