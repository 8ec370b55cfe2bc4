"""What is confirmed is not lost, and what was interrupted goes on, whatever happens to the broker."""

import asyncio
import contextlib
import uuid

import pytest
from manman.background import running
from manman.bus import topology
from manman.bus.connection import connect
from manman.bus.consumer import Delivery, consume_batches
from manman.bus.publisher import Outgoing, Publisher
from manman.bus.requests import Requests
from manman.bus.streams import read_log
from manman.errors import Unavailable
from manman.health import Health
from manman.settings import BusSettings
from manman_devstack.eventually import eventually
from manman_devstack.rabbitmq import PrivateRabbitmq
from pydantic import SecretStr

SETTLED_S = 3.0
"""A quorum queue of this broker version does not survive a kill within its first second: a known fault of the broker."""


def settings(broker: PrivateRabbitmq) -> BusSettings:
    return BusSettings(rabbitmq_url=SecretStr(broker.url), rabbitmq_heartbeat_seconds=1)


def line(number: int) -> Outgoing:
    return Outgoing(
        exchange="manman", routing_key="logs.session.3", body=str(number).encode(), message_id=str(uuid.uuid4())
    )


@pytest.mark.timeout(240)
async def test_a_broker_that_comes_late_is_killed_stopped_and_frozen_loses_nothing_confirmed(
    private_rabbitmq: PrivateRabbitmq,
) -> None:
    broker = private_rabbitmq
    broker.kill()
    health = Health()
    component = health.component("broker")
    async with connect(settings(broker), "test", component=component, wait=False) as connection:
        await eventually(lambda: "failed" in (component.reason or ""))
        assert not connection.is_up
        await asyncio.to_thread(broker.start)
        await connection.wait_up(20)
        assert component.reason is None

        queue = await topology.declare_event_queue(connection, "things", ["logs.#"])
        await topology.declare_log_stream(connection, 3)
        await asyncio.sleep(SETTLED_S)
        taken: set[int] = set()
        read: list[int] = []

        async def handler(batch: list[Delivery]) -> list[Exception | None]:
            taken.update(int(delivery.body) for delivery in batch)
            return [None] * len(batch)

        async def reader() -> None:
            async with contextlib.aclosing(read_log(connection, 3)) as batches:
                async for batch in batches:
                    read.extend(int(stored.body) for stored in batch)

        confirmed: set[int] = set()
        async with (
            Publisher(connection) as publisher,
            Requests(connection) as requests,
            running(consume_batches(connection, queue, handler), "consumer"),
            running(reader(), "reader"),
        ):
            number = 0

            async def send(count: int) -> None:
                nonlocal number
                wanted = list(range(number, number + count))
                number += count
                results = await publisher.publish_many([line(item) for item in wanted], timeout_s=20)
                confirmed.update(item for item, result in zip(wanted, results, strict=True) if result is None)

            async def all_arrived() -> None:
                await eventually(lambda: confirmed <= taken, timeout_s=40)
                await eventually(lambda: confirmed <= set(read), timeout_s=40)

            await send(100)
            assert len(confirmed) == 100
            await all_arrived()

            broker.kill()
            await eventually(lambda: not connection.is_up)
            with pytest.raises(Unavailable):
                await publisher.publish("manman", "logs.session.3", b"1", message_id="m", timeout_s=0.2)
            await asyncio.to_thread(broker.start)
            await connection.wait_up(30)
            await send(100)
            assert len(confirmed) == 200, "publishing works again on a new channel"
            await all_arrived()

            broker.freeze()
            started = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable):
                await publisher.publish("manman", "logs.session.3", b"1", message_id="m", timeout_s=1)
            assert asyncio.get_running_loop().time() - started < 6
            await eventually(lambda: not connection.is_up, timeout_s=30)
            broker.thaw()
            await connection.wait_up(30)
            await send(100)
            await all_arrived()

            await asyncio.to_thread(broker.restart)
            await connection.wait_up(30)
            await send(100)
            await all_arrived()
            with pytest.raises(Unavailable, match="no command queue"):
                await requests.call("command.host.1.session.send_input", b"{}", timeout_s=10)
        assert len(confirmed) >= 300
