import asyncio
import uuid

import pytest
from pydantic import SecretStr

from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.publisher import Outgoing, Publisher, Unroutable
from manman.errors import Conflict, Unavailable
from manman.health import Health
from manman.settings import BusSettings
from manman_devstack.onlooker import Onlooker


def outgoing(key: str, body: bytes = b"{}", *, mandatory: bool = False) -> Outgoing:
    return Outgoing(exchange="manman", routing_key=key, body=body, message_id=str(uuid.uuid4()), mandatory=mandatory)


async def test_a_message_carries_its_properties(
    connection: Connection, publisher: Publisher, outside: Onlooker
) -> None:
    queue = await topology.declare_queue(connection, topology.Queue("things", keys=["thing.#"]))
    await publisher.publish(
        "manman", "thing.made", b'{"a":1}', message_id="m-1", expiration_ms=60_000, headers={"h": "v"}
    )
    message = await outside.expect(queue.name)
    assert (message.body, message.message_id, message.routing_key) == (b'{"a":1}', "m-1", "thing.made")
    assert message.headers["h"] == "v"
    assert message.content_type == "application/json"
    assert message.delivery_mode == 2
    assert message.app_id == "test"
    assert message.expiration == 60.0


async def test_a_mandatory_message_that_nobody_takes_raises_unroutable_and_the_next_one_still_goes(
    connection: Connection, publisher: Publisher, outside: Onlooker
) -> None:
    queue = await topology.declare_queue(connection, topology.Queue("things", keys=["thing.#"]))
    with pytest.raises(Unroutable, match=r"command\.host\.9"):
        await publisher.publish("manman", "command.host.9.session.start", b"{}", message_id="m", mandatory=True)
    await publisher.publish("manman", "unheard", b"{}", message_id="m")
    await publisher.publish("manman", "thing.x", b"{}", message_id="m", mandatory=True)
    assert await outside.depth(queue.name) == 1


async def test_many_messages_keep_their_order_and_each_gets_its_own_result(
    connection: Connection, publisher: Publisher, outside: Onlooker
) -> None:
    queue = await topology.declare_queue(connection, topology.Queue("things", keys=["thing.#"]))
    messages = [outgoing("thing.x", str(number).encode()) for number in range(700)]
    messages[3] = outgoing("nobody", mandatory=True)
    results = await publisher.publish_many(messages)
    assert isinstance(results[3], Unroutable)
    assert [result for index, result in enumerate(results) if index != 3] == [None] * 699
    assert [int((await outside.expect(queue.name)).body) for _ in range(5)] == [0, 1, 2, 4, 5]


async def test_a_deleted_exchange_costs_one_failed_publish(connection: Connection, publisher: Publisher) -> None:
    await publisher.publish("manman", "a", b"{}", message_id="m")
    async with connection.channel() as channel:
        await channel.exchange_delete("external")
    with pytest.raises(Unavailable):
        await publisher.publish("external", "a", b"{}", message_id="m")
    await publisher.publish("external", "a", b"{}", message_id="m")


async def test_without_a_broker_publishing_is_unavailable_within_its_time() -> None:
    settings = BusSettings(rabbitmq_url=SecretStr("amqp://guest:guest@127.0.0.1:9/"))
    async with connect(settings, "lonely", wait=False) as connection, Publisher(connection) as publisher:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await publisher.publish("manman", "a", b"{}", message_id="m", timeout_s=0.3)
        assert [type(result) for result in await publisher.publish_many([outgoing("a")] * 3, timeout_s=0.3)] == [
            Unavailable
        ] * 3
        assert asyncio.get_running_loop().time() - started < 2


async def test_a_wrong_password_is_told_and_tried_again(outside: Onlooker) -> None:
    component = Health().component("broker")
    settings = BusSettings(rabbitmq_url=SecretStr(outside.url.replace("guest:guest", "guest:wrong")))
    async with connect(settings, "stranger", component=component, wait=False) as connection:
        with pytest.raises(Unavailable):
            await connection.wait_up(1.0)
        assert "ACCESS_REFUSED" in component.reason


async def test_a_queue_with_other_arguments_is_refused_in_words(connection: Connection) -> None:
    await topology.declare_queue(connection, topology.Queue("host-7-commands"))
    with pytest.raises(Conflict, match="other arguments"):
        await topology.declare_host_command_queue(connection, 7)


async def test_declaring_twice_changes_nothing(connection: Connection) -> None:
    for _ in range(2):
        await topology.declare_host_command_queue(connection, 7)
        await topology.declare_event_queue(connection, "processor-events", ["health.#"])
        await topology.declare_log_stream(connection, 3)
    await topology.delete_log_stream(connection, 3)
    await topology.delete_log_stream(connection, 3)
