"""Nothing waits for the database without a limit, and what goes beyond one is Unavailable: try again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import Unavailable
from manman.settings import DatabaseSettings


@asynccontextmanager
async def limited(database_url: str, **limits: Any) -> AsyncIterator[UnitOfWork]:
    async with connected(DatabaseSettings(pg_database_url=SecretStr(database_url), **limits)) as engine:
        yield UnitOfWork(engine)


async def execute(tx: Any, query: str) -> Any:
    return await tx._database_session.scalar(text(query))


async def test_a_statement_over_its_limit_is_unavailable_and_the_next_one_works(database_url: str) -> None:
    async with limited(database_url, db_statement_timeout_seconds=0.05) as uow:
        with pytest.raises(Unavailable, match="busy"):
            async with uow() as tx:
                await execute(tx, "SELECT pg_sleep(10)")
        async with uow() as tx:
            assert await execute(tx, "SELECT 1") == 1


async def test_a_row_that_stays_held_is_unavailable(database_url: str, world: Any) -> None:
    session_id = await world.session()
    async with limited(database_url, db_lock_timeout_seconds=0.05) as uow, world.uow() as holder:
        await holder.sessions.lock(session_id)
        with pytest.raises(Unavailable, match="busy"):
            async with uow() as tx:
                await tx.sessions.lock(session_id)


async def test_a_transaction_that_was_forgotten_ends_and_gives_up_its_locks(database_url: str, world: Any) -> None:
    session_id = await world.session()
    async with limited(database_url, db_idle_transaction_timeout_seconds=0.05) as uow:

        async def forget() -> None:
            async with uow() as forgotten:
                await forgotten.sessions.lock(session_id)
                async with world.uow() as tx:
                    await tx.sessions.lock(session_id)  # waits until the other transaction is ended
                await forgotten.flush()
                await forgotten.games.list()

        with pytest.raises(Unavailable):
            await forget()
        async with uow() as tx:
            assert (await tx.sessions.get(session_id)).session_id == session_id


async def test_a_pool_without_a_free_connection_is_unavailable_and_gives_the_next_one_that_is(
    database_url: str,
) -> None:
    limits = {"db_pool_size": 1, "db_pool_overflow": 1, "db_pool_timeout_seconds": 0.1}
    async with limited(database_url, **limits) as uow:
        async with uow() as one, uow() as two:
            await asyncio.gather(one.games.list(), two.games.list())
            with pytest.raises(Unavailable, match="no free connection"):
                async with uow() as three:
                    await three.games.list()
        async with uow() as three:
            assert await three.games.list() == []


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("db_statement_timeout_seconds", "statement_timeout"),
        ("db_lock_timeout_seconds", "lock_timeout"),
        ("db_idle_transaction_timeout_seconds", "idle_in_transaction_session_timeout"),
    ],
)
async def test_each_limit_reaches_postgres(database_url: str, setting: str, name: str) -> None:
    async with limited(database_url, **{setting: 7.25}) as uow, uow() as tx:
        assert await execute(tx, f"SHOW {name}") == "7250ms"


async def test_a_limit_that_rounds_to_nothing_is_a_limit(database_url: str) -> None:
    async with limited(database_url, db_statement_timeout_seconds=0.0001) as uow:
        with pytest.raises(Unavailable, match="busy"):
            async with uow() as tx:
                await execute(tx, "SELECT pg_sleep(10)")
