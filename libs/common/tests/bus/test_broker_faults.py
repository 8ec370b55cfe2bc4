"""What is confirmed is not lost, and what was interrupted goes on, whatever happens to the broker."""

import asyncio
import contextlib
import uuid

import pytest
from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection, connect
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
"""A quorum queue of this broker version does not survive a kill within its first second: a fault of the broker."""


class Traffic:
    """Numbered lines that go to a queue and to a log stream, and what became of them."""

    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection = connection
        self._publisher = publisher
        self._next = 0
        self.confirmed: set[int] = set()
        self._taken: set[int] = set()
        self._read: set[int] = set()

    async def take(self, batch: list[Delivery]) -> list[Exception | None]:
        self._taken.update(int(delivery.body) for delivery in batch)
        return [None] * len(batch)

    async def read(self) -> None:
        async with contextlib.aclosing(read_log(self._connection, 3)) as batches:
            async for batch in batches:
                self._read.update(int(stored.body) for stored in batch)

    async def send(self) -> None:
        wanted = list(range(self._next, self._next + 100))
        self._next += 100
        results = await self._publisher.publish_many([line(number) for number in wanted], timeout_s=20)
        self.confirmed.update(number for number, result in zip(wanted, results, strict=True) if result is None)

    async def arrives(self) -> None:
        await eventually(lambda: self.confirmed <= self._taken, timeout_s=40)
        await eventually(lambda: self.confirmed <= self._read, timeout_s=40)


def line(number: int) -> Outgoing:
    body = str(number).encode()
    return Outgoing(exchange="manman", routing_key="logs.session.3", body=body, message_id=str(uuid.uuid4()))


async def publishing_is_refused(publisher: Publisher, timeout_s: float) -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await publisher.publish("manman", "logs.session.3", b"0", message_id="m", timeout_s=timeout_s)
    assert asyncio.get_running_loop().time() - started < timeout_s + 5


@pytest.mark.timeout(240)
async def test_a_broker_that_comes_late_is_killed_frozen_and_restarted_loses_nothing_confirmed(
    private_rabbitmq: PrivateRabbitmq,
) -> None:
    broker = private_rabbitmq
    broker.kill()
    component = Health().component("broker")
    settings = BusSettings(rabbitmq_url=SecretStr(broker.url), rabbitmq_heartbeat_seconds=1)
    async with connect(settings, "test", component=component, wait=False) as connection:
        await eventually(lambda: "failed" in (component.reason or ""))
        await asyncio.to_thread(broker.start)
        await connection.wait_up(20)
        assert component.reason is None

        queue = await topology.declare_event_queue(connection, "things", ["logs.#"])
        await topology.declare_log_stream(connection, 3)
        await asyncio.sleep(SETTLED_S)
        async with Publisher(connection) as publisher, Requests(connection) as requests:
            traffic = Traffic(connection, publisher)
            async with (
                running(consume_batches(connection, queue, traffic.take), "consumer"),
                running(traffic.read(), "reader"),
            ):
                await traffic.send()
                await traffic.arrives()

                broker.kill()
                await eventually(lambda: not connection.is_up)
                await publishing_is_refused(publisher, 0.2)
                await asyncio.to_thread(broker.start)
                await connection.wait_up(30)
                await traffic.send()
                assert len(traffic.confirmed) == 200, "publishing works again on a new channel"
                await traffic.arrives()

                broker.freeze()
                await publishing_is_refused(publisher, 1.0)
                await eventually(lambda: not connection.is_up, timeout_s=30)
                broker.thaw()
                await connection.wait_up(30)
                await traffic.send()
                await traffic.arrives()

                await asyncio.to_thread(broker.restart)
                await connection.wait_up(30)
                await traffic.send()
                await traffic.arrives()
                with pytest.raises(Unavailable, match="no command queue"):
                    await requests.call("command.host.1.session.send_input", b"{}", timeout_s=10)
        assert len(traffic.confirmed) >= 300
