"""Reads: the shape of what comes back, and what becomes of connections."""

import asyncio
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from manman.db.engine import connected
from manman.db.models import Server
from manman.db.reading import Read, Reader
from manman.db.unit_of_work import UnitOfWork
from manman.errors import Unavailable
from manman.settings import DatabaseSettings
from manman_devstack.eventually import eventually

SLEEP = Read(select(func.pg_sleep(bindparam("seconds"))))


def connections(url: str) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_row_has_the_columns_and_properties_of_its_class_and_the_values_of_a_transaction(
    uow: Any, world: Any
) -> None:
    async with uow() as tx:
        loaded = await tx.servers.get(world.server_id)

    row, _ = await uow.reads.servers.get(world.server_id)

    names = [attribute.key for attribute in Server.__mapper__.column_attrs]
    assert {name: getattr(row, name) for name in names} == {name: getattr(loaded, name) for name in names}
    assert row.address == loaded.address


async def test_a_class_without_a_row_is_none(uow: Any, world: Any) -> None:
    _, before = await uow.reads.servers.get(world.server_id)
    async with uow() as tx:
        for cores in (4, 8):
            await tx.servers.add_capability(world.server_id, now=world.now, values={"cpu_cores": cores})
        await tx.commit()
    _, after = await uow.reads.servers.get(world.server_id)

    assert before is None
    assert after.cpu_cores == 8


async def test_a_read_row_cannot_be_changed(uow: Any, world: Any) -> None:
    row, _ = await uow.reads.servers.get(world.server_id)

    with pytest.raises(AttributeError):
        row.name = "another"


async def test_a_connection_that_died_while_idle_is_replaced_unnoticed(uow: Any, world: Any, database_url: str) -> None:
    await uow.reads.servers.get(world.server_id)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    row, _ = await uow.reads.servers.get(world.server_id)

    assert row.server_id == world.server_id


async def test_a_read_that_is_given_up_gives_its_place_back(database_settings: DatabaseSettings) -> None:
    async with connected(database_settings.model_copy(update={"db_pool_size": 1})) as engine:
        reader = Reader(engine)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.all(SLEEP, seconds=30.0)

        assert await reader.all(SLEEP, seconds=0.0)


async def test_a_statement_that_is_refused_is_an_error_of_the_family_and_keeps_the_connection(
    database_settings: DatabaseSettings, database_url: str
) -> None:
    async with connected(database_settings.model_copy(update={"db_statement_timeout_seconds": 0.1})) as engine:
        reader = Reader(engine)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await reader.all(SLEEP, seconds=30.0)

        assert await reader.all(SLEEP, seconds=0.0)
        assert connections(database_url) == 1


async def test_reads_open_no_more_connections_than_the_pool_has_and_end_with_the_engine(
    database_settings: DatabaseSettings, database_url: str
) -> None:
    async with connected(database_settings.model_copy(update={"db_pool_size": 2})) as engine:
        reader = Reader(engine)
        await asyncio.gather(*[reader.all(SLEEP, seconds=0.05) for _ in range(6)])
        assert connections(database_url) == 2

    def none_is_left() -> None:
        assert connections(database_url) == 0

    await eventually(none_is_left)


async def test_a_read_without_a_free_connection_in_time_is_unavailable(database_settings: DatabaseSettings) -> None:
    limits = {"db_pool_size": 1, "db_pool_timeout_seconds": 0.1}
    async with connected(database_settings.model_copy(update=limits)) as engine, asyncio.TaskGroup() as group:
        reader = Reader(engine)
        holder = group.create_task(reader.all(SLEEP, seconds=1.0))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="busy"):
            await reader.all(SLEEP, seconds=0.0)
        assert await holder


async def test_without_a_database_a_read_is_unavailable() -> None:
    settings = DatabaseSettings(pg_database_url=SecretStr("postgresql://postgres@127.0.0.1:1/x"))
    async with connected(settings) as engine:
        with pytest.raises(Unavailable):
            await UnitOfWork(engine).reads.servers.get(1)


async def test_a_transaction_beside_reads_is_rolled_back_when_it_is_left(uow: Any, engine: AsyncEngine) -> None:
    async with uow() as tx:
        await tx.games.add(name="left")
    async with uow() as tx:
        assert list(await tx.games.list()) == []
    assert await Reader(engine).all(Read(select(func.pg_current_xact_id_if_assigned()))) == [(None,)]
