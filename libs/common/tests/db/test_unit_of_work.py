import asyncio
import socket
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from manman.db.engine import connected, ping
from manman.db.leadership import lead
from manman.db.outbox import CHANNEL
from manman.db.unit_of_work import UnitOfWork
from manman.errors import ManManError, Unavailable
from manman.identifiers import new_id
from manman.messages.external import HostEvent
from manman.settings import DatabaseSettings


async def test_leaving_without_a_commit_changes_nothing(uow: Any) -> None:
    async with uow() as tx:
        await tx.games.add(name="OpenTTD")
    async with uow() as tx:
        assert await tx.games.list() == []


async def test_an_error_inside_rolls_back_and_comes_out_as_it_is(uow: Any) -> None:
    class OwnError(Exception):
        pass

    async def fail() -> None:
        async with uow() as tx:
            await tx.games.add(name="OpenTTD")
            raise OwnError

    with pytest.raises(OwnError):
        await fail()
    async with uow() as tx:
        assert await tx.games.list() == []


async def test_rows_stay_readable_after_the_commit(uow: Any, world: Any) -> None:
    async with uow() as tx:
        config = await tx.configs.add(game_id=world.game_id, name="n", image="i")
        await tx.commit()
    assert (config.name, config.memory_mb, config.parameters, config.files) == ("n", 0, [], [])


async def test_a_locked_row_waits_for_its_holder(uow: Any, world: Any) -> None:
    session_id = await world.session()
    order = []

    async def second() -> None:
        async with uow() as tx:
            await tx.sessions.lock(session_id)
            order.append("second")

    async with asyncio.TaskGroup() as group, uow() as tx:
        await tx.sessions.lock(session_id)
        group.create_task(second())
        await tx.games.list()
        order.append("first")
    assert order == ["first", "second"]


async def test_a_database_that_is_away_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://postgres@127.0.0.1:{unused.getsockname()[1]}/x"
        async with connected(DatabaseSettings(pg_database_url=SecretStr(url))) as engine:
            with pytest.raises(Unavailable):
                await ping(engine)
            with pytest.raises(Unavailable):
                async with UnitOfWork(engine)() as tx:
                    await tx.games.list()


async def test_a_connection_that_breaks_is_unavailable_and_the_next_one_works(uow: Any, database_url: str) -> None:
    async def cut_off() -> None:
        async with uow() as tx:
            await tx.games.list()
            _end_other_connections(database_url)
            await tx.games.list()

    with pytest.raises(Unavailable):
        await cut_off()
    async with uow() as tx:
        assert await tx.games.list() == []


async def test_connections_that_died_while_idle_are_replaced_unnoticed(uow: Any, database_url: str) -> None:
    async with uow() as first, uow() as second:
        await first.games.list()
        await second.games.list()
    _end_other_connections(database_url)
    async with uow() as first, uow() as second:
        assert await first.games.list() == await second.games.list() == []


async def test_a_deadlock_is_unavailable_for_one_and_nothing_for_the_other(uow: Any, world: Any) -> None:
    one, two = await world.session(), await world.session()
    both = asyncio.Barrier(2)

    async def take(first: int, second: int) -> type[ManManError] | None:
        try:
            async with uow() as tx:
                await tx.sessions.lock(first)
                await both.wait()
                await tx.sessions.lock(second)
        except Unavailable as error:
            return type(error)
        return None

    outcomes = await asyncio.gather(take(one, two), take(two, one))
    assert sorted(map(str, outcomes)) == sorted(map(str, [None, Unavailable]))


async def test_a_commit_with_a_message_is_heard_by_the_leader_and_one_without_is_not(
    uow: Any, database_settings: Any
) -> None:
    loop = asyncio.get_running_loop()
    async with lead(database_settings, lock=1, channel=CHANNEL) as leadership:
        async with uow() as tx:
            await tx.games.add(name="OpenTTD")
            await tx.commit()
        started = loop.time()
        await leadership.wait(0.3)
        assert loop.time() - started >= 0.25
        async with uow() as tx:
            tx.outbox.add_external(routing_key="k", body=HostEvent(server_id=1, status="online"), message_id=new_id())
            await tx.commit()
        started = loop.time()
        await leadership.wait(30)
        assert loop.time() - started < 10


async def test_leadership_ends_with_its_connection(database_settings: Any, database_url: str) -> None:
    async with lead(database_settings, lock=1, channel=CHANNEL) as leadership:
        _end_other_connections(database_url)
        with pytest.raises(Unavailable):
            await leadership.wait(5)
        async with asyncio.timeout(10), lead(database_settings, lock=1, channel=CHANNEL):
            pass


def _end_other_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_a_schema_that_is_not_there_yet_is_waited_for_and_named(empty_database_url: str) -> None:
    async with connected(DatabaseSettings(pg_database_url=SecretStr(empty_database_url))) as engine:
        with pytest.raises(Unavailable, match="migration"):
            async with UnitOfWork(engine)() as tx:
                await tx.games.list()


async def test_a_database_that_only_reads_for_now_is_waited_for(uow: Any) -> None:
    async with uow() as tx:
        await tx.games.list()
        await tx._database_session.execute(text("SET TRANSACTION READ ONLY"))
        with pytest.raises(Unavailable):
            await tx.games.add(name="OpenTTD")
