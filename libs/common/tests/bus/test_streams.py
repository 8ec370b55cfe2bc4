import contextlib
import uuid
from typing import Any

import aio_pika
import pytest

from manman.bus import topology
from manman.bus.connection import Connection
from manman.bus.publisher import Outgoing, Publisher
from manman.bus.streams import StoredLine, read_log
from manman.bus.subscription import LARGEST_CHUNK, Subscription, subscribe
from manman.errors import NotFound
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import amqp

ANY: Any = object()


async def write(publisher: Publisher, *bodies: str) -> None:
    results = await publisher.publish_many(
        [
            Outgoing(exchange="manman", routing_key="logs.session.3", body=body.encode(), message_id=str(uuid.uuid4()))
            for body in bodies
        ]
    )
    assert set(results) == {None}


async def read(connection: Connection, after: int, count: int) -> list[StoredLine]:
    lines: list[StoredLine] = []
    async with contextlib.aclosing(read_log(connection, 3, after_sequence_number=after)) as batches:
        async for batch in batches:
            lines.extend(batch)
            if len(lines) >= count:
                return lines
    raise AssertionError("a stream never ends by itself")


async def test_zero_means_everything_and_any_number_resumes_exactly_behind_it(
    connection: Connection, publisher: Publisher
) -> None:
    await topology.declare_log_stream(connection, 3)
    await write(publisher, *[f"line {number}" for number in range(1, 601)])
    everything = await read(connection, 0, 600)
    assert [line.sequence_number for line in everything] == list(range(1, 601))
    assert everything[41] == StoredLine(42, b"line 42")
    assert (await read(connection, 599, 1)) == [StoredLine(600, b"line 600")]


async def test_lines_that_come_later_are_seen_by_a_reader_at_the_end(
    connection: Connection, publisher: Publisher
) -> None:
    await topology.declare_log_stream(connection, 3)
    await write(publisher, "old")
    async with contextlib.aclosing(read_log(connection, 3, after_sequence_number=0)) as batches:
        assert await anext(batches) == [StoredLine(1, b"old")]
        await write(publisher, "new")
        assert await anext(batches) == [StoredLine(2, b"new")]


async def test_a_stream_that_never_was_or_was_deleted_is_not_found(
    connection: Connection, publisher: Publisher
) -> None:
    with pytest.raises(NotFound, match="session 3"):
        await read(connection, 0, 1)
    await topology.declare_log_stream(connection, 3)
    await write(publisher, "one")
    async with contextlib.aclosing(read_log(connection, 3)) as batches:
        await anext(batches)
        await topology.delete_log_stream(connection, 3)
        with pytest.raises(NotFound):
            await anext(batches)


async def test_what_a_stream_sends_beyond_the_prefetch_is_not_lost(connection: Connection, amqp_url: str) -> None:
    await topology.declare_log_stream(connection, 3)
    async with amqp(amqp_url) as outside, outside.channel(publisher_confirms=False) as channel:
        exchange = await channel.get_exchange("manman", ensure=False)
        async with channel.transaction():  # arrives at once, and so becomes chunks of about a hundred
            for number in range(1000):
                await exchange.publish(aio_pika.Message(str(number).encode()), "logs.session.3", mandatory=False)
    reading = subscribe(
        connection, topology.log_stream(3), prefetch=10, arguments={"x-stream-offset": 0}, declare=False
    )
    numbers: list[int] = []
    async with reading as subscription:

        async def read(until: int) -> None:
            while len(numbers) < until:
                batch = await subscription.next_batch(5)
                numbers.extend(int(message.body) for message in batch)
                await subscription.acknowledge(batch[-1], all_before=True)

        await read(20)  # the first chunk may be a small one
        await eventually(lambda: subscription._inbox.qsize() > 10)
        await read(1000)
    assert numbers == list(range(1000))


async def test_a_subscription_that_is_sent_too_much_ends_and_keeps_nothing_back() -> None:
    subscription = Subscription(prefetch=1)
    for _ in range(1 + LARGEST_CHUNK):
        await subscription.put(ANY)
    assert subscription.ended_because is None
    await subscription.put(ANY)
    assert "not acknowledged" in (subscription.ended_because or "")
    assert await subscription.next_batch(10) == []
