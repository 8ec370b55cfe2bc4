import asyncio

import pytest

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection
from manman.bus.consumer import consume
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher
from manman.bus.topology import Queue
from manman.errors import Conflict, Invalid, Problem, Unavailable
from manman.health import Health
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker


@pytest.fixture
async def queue(connection: Connection) -> Queue:
    return await topology.declare_event_queue(connection, "things", ["thing.#"])


class Recorder:
    """A handler that notes what it saw and fails as told, by the body of the message."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.errors: dict[str, list[Exception]] = {}

    async def __call__(self, delivery: Delivery) -> None:
        text = delivery.body.decode()
        self.seen.append(text)
        await asyncio.sleep(0)
        if self.errors.get(text):
            raise self.errors[text].pop(0)


async def send(publisher: Publisher, *bodies: str) -> None:
    for body in bodies:
        await publisher.publish("manman", "thing.x", body.encode(), message_id=f"id-{body}", mandatory=True)


async def test_messages_are_handled_in_order_and_acknowledged(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    handler = Recorder()
    async with running(consume(connection, queue, handler, prefetch=10), "consumer"):
        await send(publisher, *"abcdefgh")
        await eventually(lambda: len(handler.seen) == 8)
    assert handler.seen == list("abcdefgh")
    assert await outside.depth("things") <= 1, "the end may overtake the last acknowledgement only"


@pytest.mark.parametrize(
    "error", [Invalid([Problem("status", "must be a known status")]), Conflict("running may not become pending")]
)
async def test_a_refused_message_is_dead_lettered_with_its_reason_and_the_queue_moves_on(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker, error: Exception
) -> None:
    handler = Recorder()
    handler.errors["bad"] = [error]
    async with running(consume(connection, queue, handler), "consumer"):
        await send(publisher, "bad", "good")
        await eventually(lambda: handler.seen == ["bad", "good"])
        dead = await eventually(lambda: outside.expect("things-dlq"))
    assert dead.body == b"bad"
    assert dead.message_id == "id-bad"
    assert dead.headers["x-manman-reason"] == type(error).__name__
    assert dead.headers["x-manman-error"] == str(error)
    assert dead.headers["x-manman-routing-key"] == "thing.x"


async def test_an_unavailable_part_holds_the_message_until_it_is_back(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    handler = Recorder()
    handler.errors["a"] = [Unavailable("the database is away")] * 3
    async with running(consume(connection, queue, handler), "consumer"):
        await send(publisher, "a", "b")
        await eventually(lambda: handler.seen == ["a", "a", "a", "a", "b"])
    assert await outside.depth("things-dlq") == 0


async def test_a_bug_is_tried_five_times_and_then_dead_lettered(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    handler = Recorder()
    handler.errors["a"] = [KeyError("oops")] * 9
    async with running(consume(connection, queue, handler), "consumer"):
        await send(publisher, "a", "b")
        await eventually(lambda: handler.seen == ["a"] * 5 + ["b"], timeout_s=15)
    dead = await outside.expect("things-dlq")
    assert dead.headers["x-manman-reason"] == "KeyError"


async def test_a_deleted_queue_comes_back_with_its_bindings(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    handler = Recorder()
    component = Health().component("events")
    async with running(consume(connection, queue, handler, component=component), "consumer"):
        await eventually(lambda: component.reason is None)
        await outside.delete("things")
        await eventually(lambda: component.reason is not None)
        await eventually(lambda: component.reason is None)
        await send(publisher, "after")
        await eventually(lambda: handler.seen == ["after"])


async def test_a_deleted_dead_letter_queue_is_declared_again(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    handler = Recorder()
    handler.errors["bad"] = [Conflict("no")]
    async with running(consume(connection, queue, handler), "consumer"):
        await send(publisher, "first")
        await eventually(lambda: handler.seen == ["first"])
        await outside.delete("things-dlq")
        await send(publisher, "bad")
        await eventually(lambda: handler.seen == ["first", "bad"])
        await eventually(lambda: depth_is(outside, "things-dlq", 1))


async def depth_is(outside: Onlooker, name: str, expected: int) -> bool:
    return await outside.depth(name) == expected


async def test_a_handler_that_waits_does_not_hold_up_others_when_concurrency_allows(
    connection: Connection, publisher: Publisher, queue: Queue, outside: Onlooker
) -> None:
    started: list[str] = []
    release = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        started.append(delivery.body.decode())
        if delivery.body == b"slow":
            await release.wait()

    async with running(consume(connection, queue, handler, concurrency=4), "consumer"):
        await send(publisher, "slow", "a", "b")
        await eventually(lambda: started == ["slow", "a", "b"])
        release.set()
        await eventually(lambda: depth_is(outside, "things", 0))


async def test_a_message_whose_handler_was_cancelled_comes_again(
    connection: Connection, publisher: Publisher, queue: Queue
) -> None:
    begun = asyncio.Event()

    async def stuck(_delivery: Delivery) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with running(consume(connection, queue, stuck), "consumer"):
        await send(publisher, "a")
        await begun.wait()
    handler = Recorder()
    async with running(consume(connection, queue, handler), "consumer"):
        await eventually(lambda: handler.seen == ["a"])
