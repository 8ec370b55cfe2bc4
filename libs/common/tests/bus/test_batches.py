import asyncio

import pytest

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection
from manman.bus.consumer import consume_batches
from manman.bus.delivery import Delivery
from manman.bus.publisher import Outgoing, Publisher
from manman.bus.topology import Queue
from manman.errors import Conflict, Unavailable
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker


@pytest.fixture
async def queue(connection: Connection) -> Queue:
    return await topology.declare_event_queue(connection, "things", ["thing.#"])


async def send(publisher: Publisher, bodies: list[str]) -> None:
    await publisher.publish_many(
        [Outgoing(exchange="manman", routing_key="thing.x", body=body.encode(), message_id=body) for body in bodies]
    )


def texts(batch: list[Delivery]) -> list[str]:
    return [delivery.body.decode() for delivery in batch]


async def test_what_has_piled_up_is_handled_together_in_order(
    connection: Connection, publisher: Publisher, queue: Queue
) -> None:
    batches: list[list[str]] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        batches.append(texts(batch))
        await asyncio.sleep(0.01)
        return [None] * len(batch)

    bodies = [str(number) for number in range(1000)]
    await send(publisher, bodies)
    async with running(consume_batches(connection, queue, handler, max_batch=300), "consumer"):
        await eventually(lambda: sum(map(len, batches)) == 1000)
    assert [text for batch in batches for text in batch] == bodies
    assert len(batches) < 100
    assert max(map(len, batches)) <= 300


async def test_one_refused_message_of_a_batch_goes_to_the_dead_letters_alone(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    seen: list[str] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        seen.extend(texts(batch))
        return [Conflict("no") if text == "bad" else None for text in texts(batch)]

    await send(publisher, ["a", "bad", "c"])
    async with running(consume_batches(connection, queue, handler), "consumer"):
        dead = await eventually(lambda: outside.expect("things-dlq"))
        await eventually(lambda: len(seen) == 3)
    assert dead.body == b"bad"
    assert dead.headers["x-manman-reason"] == "Conflict"


async def test_a_message_that_breaks_its_batch_is_found_and_the_others_are_handled(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    done: list[str] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        if "poison" in texts(batch):
            raise ZeroDivisionError
        done.extend(texts(batch))
        return [None] * len(batch)

    await send(publisher, ["a", "poison", "c"])
    async with running(consume_batches(connection, queue, handler), "consumer"):
        await eventually(lambda: done == ["a", "c"], timeout_s=20)
        dead = await eventually(lambda: outside.expect("things-dlq"))
    assert dead.body == b"poison"
    assert dead.headers["x-manman-reason"] == "ZeroDivisionError"


async def test_a_batch_is_held_while_the_database_is_away(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    failures, done = 3, []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable("the database is away")
        done.extend(texts(batch))
        return [None] * len(batch)

    await send(publisher, ["a", "b"])
    async with running(consume_batches(connection, queue, handler), "consumer"):
        await eventually(lambda: done == ["a", "b"])
    assert await outside.depth("things-dlq") == 0


async def test_a_batch_cut_off_by_the_end_of_the_process_comes_again(
    connection: Connection, publisher: Publisher, queue: Queue
) -> None:
    begun = asyncio.Event()

    async def stuck(_batch: list[Delivery]) -> list[Exception | None]:
        begun.set()
        await asyncio.sleep(60)
        return []

    await send(publisher, ["a", "b"])
    async with running(consume_batches(connection, queue, stuck), "consumer"):
        await begun.wait()
    seen: list[str] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        seen.extend(texts(batch))
        return [None] * len(batch)

    async with running(consume_batches(connection, queue, handler), "consumer"):
        await eventually(lambda: seen == ["a", "b"])
