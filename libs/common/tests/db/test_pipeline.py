"""Statements that go together: what comes back, and what becomes of a connection on which something failed."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manman.db.pipeline import Pipeline
from manman_devstack.eventually import eventually

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1))
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))

SEEN = "SELECT %(value)s::{kind}"


@pytest.fixture
async def pipeline(database_url: str) -> AsyncIterator[Pipeline]:
    made = await opened(database_url)
    yield made
    made.close()


async def opened(url: str) -> Pipeline:
    return Pipeline(await psycopg.AsyncConnection.connect(url, autocommit=True))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", 2**62),
        ("smallint", -3),
        ("boolean", True),
        ("text", "100 % of 'it' \\ \" {a,b}"),
        ("bytea", b"\x00\xff"),
        ("uuid", uuid.uuid4()),
        ("timestamptz", datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("bigint[]", [1, 2**40, -1]),
        ("bigint[]", []),
        ("text[]", ["a,b", "", 'c"d', "{}"]),
        ("jsonb", None),
    ],
)
async def test_values_come_back_as_they_went(pipeline: Pipeline, kind: str, value: object) -> None:
    for _ in range(2):  # prepared, and used again
        assert await pipeline.run((SEEN.format(kind=kind), {"value": value})) == [[(value,)]]


@given(numbers=NUMBERS, words=WORDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_lists_come_back_as_they_went(database_url: str, numbers: list[int], words: list[str]) -> None:
    async def there_and_back() -> list[list[Any]]:
        made = await opened(database_url)
        try:
            return await made.run(
                (SEEN.format(kind="bigint[]"), {"value": numbers}), (SEEN.format(kind="text[]"), {"value": words})
            )
        finally:
            made.close()

    # hypothesis has no loop of its own
    assert asyncio.run(there_and_back()) == [[(numbers,)], [(words,)]]


async def test_a_value_can_stand_in_several_places_and_a_percent_sign_is_written_twice(pipeline: Pipeline) -> None:
    statement = "SELECT %(a)s::int + %(b)s::int, 7 %% %(a)s::int"
    assert await pipeline.run((statement, {"a": 4, "b": 1, "unused": object()})) == [[(5, 3)]]


async def test_statements_of_a_call_are_one_transaction_and_their_answers_come_in_order(pipeline: Pipeline) -> None:
    xid = ("SELECT pg_current_xact_id()::text", {})
    one, nothing, other = await pipeline.run(xid, ("SELECT 1 WHERE false", {}), xid)
    assert (one, nothing) == (other, [])


async def test_of_statements_after_one_that_fails_none_is_run_and_the_connection_can_go_on(pipeline: Pipeline) -> None:
    fill = ("INSERT INTO t SELECT %(value)s::int", {"value": 1})
    await pipeline.run(("CREATE TEMP TABLE t (value int UNIQUE)", {}))
    await pipeline.run(fill)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pipeline.run(("DELETE FROM t", {}), ("SELECT 1 / %(value)s::int", {"value": 0}), ("DROP TABLE t", {}))
    assert pipeline.is_idle
    for _ in range(2):  # what had not been prepared before it failed is prepared again
        with pytest.raises(psycopg.errors.UniqueViolation):
            await pipeline.run(("SELECT 2", {}), fill, ("SELECT 3", {}))
        assert await pipeline.run(("SELECT 3", {}), ("SELECT value FROM t", {})) == [[(3,)], [(1,)]]


async def test_a_transaction_that_is_left_open_is_not_for_the_next_caller(pipeline: Pipeline) -> None:
    await pipeline.run(("BEGIN", {}))
    assert not pipeline.is_idle
    await pipeline.run(("ROLLBACK", {}))
    assert pipeline.is_idle


async def test_more_than_the_socket_takes_at_once_goes_both_ways(pipeline: Pipeline) -> None:
    text = "x" * 20_000_000
    assert await pipeline.run(*[(SEEN.format(kind="text"), {"value": text})] * 2) == [[(text,)]] * 2


async def test_whoever_waits_is_told_when_the_connection_is_lost(pipeline: Pipeline, database_url: str) -> None:
    ((pid,),) = (await pipeline.run(("SELECT pg_backend_pid()", {})))[0]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_error_of(pipeline, ("SELECT pg_sleep(60)", {})))
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            active = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

            async def is_waiting() -> bool:
                return bool(await (await other.execute(active, [pid])).fetchall())

            await eventually(is_waiting)
            await other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert isinstance(waiting.result(), psycopg.OperationalError)
    assert pipeline.is_closed


async def test_an_idle_connection_hears_that_the_server_has_ended_it(pipeline: Pipeline, database_url: str) -> None:
    ((pid,),) = (await pipeline.run(("SELECT pg_backend_pid()", {})))[0]
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert pipeline.was_ended()
    await eventually(lambda: pipeline.is_closed)


async def test_who_is_cancelled_closes_the_connection(pipeline: Pipeline) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await pipeline.run(("SELECT pg_sleep(60)", {}))
    assert pipeline.is_closed


async def _error_of(pipeline: Pipeline, *statements: Any) -> psycopg.Error | None:
    try:
        await pipeline.run(*statements)
    except psycopg.Error as error:
        return error
    return None
