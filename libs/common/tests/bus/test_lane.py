"""A lane against the real broker; what faults do to it is in test_broker_faults."""

import asyncio
import uuid

import pytest
from pydantic import SecretStr

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.consumer import consume_batches
from manman.bus.delivery import Delivery
from manman.bus.publisher import Outgoing, Publisher, Sender, Unroutable
from manman.errors import Unavailable
from manman.settings import BusSettings
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker


def outgoing(body: bytes, *, key: str = "thing.x", exchange: str = "manman", mandatory: bool = False) -> Outgoing:
    return Outgoing(exchange=exchange, routing_key=key, body=body, message_id=str(uuid.uuid4()), mandatory=mandatory)


async def test_bodies_of_every_size_arrive_whole_and_in_order(connection: Connection, publisher: Publisher) -> None:
    queue = await topology.declare_event_queue(connection, "things", ["thing.#"])
    sizes = [0, 1, 131_064, 131_065, 400_000, 5]
    bodies = [bytes([index]) * size for index, size in enumerate(sizes)]
    seen: list[bytes] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        seen.extend(delivery.body for delivery in batch)
        return [None] * len(batch)

    async with running(consume_batches(connection, queue, handler), "consumer"):
        assert await publisher.publish_many([outgoing(body) for body in bodies]) == [None] * len(bodies)
        await eventually(lambda: seen == bodies)


async def test_several_publishers_on_one_lane_each_get_their_own_results(connection: Connection) -> None:
    await topology.declare_queue(connection, topology.Queue("things", keys=["thing.#"]))
    lane = await connection.open_lane()
    await lane.confirm()
    batches = [
        [outgoing(b"{}", key="nobody" if index == one else "thing.x", mandatory=True) for index in range(50)]
        for one in range(5)
    ]
    results = await asyncio.gather(*(Sender(lane).send(batch) for batch in batches))
    for one, outcomes in enumerate(results):
        assert [isinstance(outcome, Unroutable) for outcome in outcomes] == [index == one for index in range(50)]
    await lane.close(2)


async def test_an_exchange_that_is_not_there_ends_the_lane_and_the_next_publish_has_another(
    connection: Connection, publisher: Publisher
) -> None:
    await topology.declare_queue(connection, topology.Queue("things", keys=["thing.#"]))
    (error,) = await publisher.publish_many([outgoing(b"{}", exchange="nowhere")])
    assert isinstance(error, Unavailable)
    assert "nowhere" in str(error)
    assert await publisher.publish_many([outgoing(b"{}")]) == [None]


async def test_a_queue_that_is_deleted_under_its_consumer_is_declared_again(
    connection: Connection, publisher: Publisher, outside: Onlooker
) -> None:
    queue = topology.event_queue("things", ["thing.#"])
    seen: list[bytes] = []

    async def handler(batch: list[Delivery]) -> list[Exception | None]:
        seen.extend(delivery.body for delivery in batch)
        return [None] * len(batch)

    async def arrives(body: bytes) -> bool:
        await publisher.publish_many([outgoing(body)])
        return body in seen

    async with running(consume_batches(connection, queue, handler), "consumer"):
        await eventually(lambda: arrives(b"before"))
        await outside.delete("things")
        await eventually(lambda: arrives(b"after"), timeout_s=20)


async def test_a_wrong_password_is_told_in_the_brokers_words(connection: Connection, outside: Onlooker) -> None:
    settings = BusSettings(rabbitmq_url=SecretStr(outside.url.replace("guest:guest", "guest:wrong")))
    stranger = Connection(settings, "stranger", None)
    stranger._raw = connection._raw  # as if its password had been changed meanwhile
    with pytest.raises(Unavailable, match="ACCESS_REFUSED"):
        await stranger.open_lane()


async def test_a_lane_is_kept_up_while_nothing_passes(outside: Onlooker) -> None:
    settings = BusSettings(rabbitmq_url=SecretStr(outside.url), rabbitmq_heartbeat_seconds=1)
    async with connect(settings, "quiet") as connection:
        lane = await connection.open_lane()
        await lane.confirm()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.next_batch(1), 5)  # two unanswered heartbeats are enough for the broker
        assert lane.ended_because is None
        assert await Sender(lane).send([outgoing(b"{}")], timeout_s=5) == [None]
        await lane.close(2)
