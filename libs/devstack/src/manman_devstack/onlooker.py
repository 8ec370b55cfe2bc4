"""The broker as another program sees it: for tests and the demo, around our own bus code on purpose.

An onlooker peeks at queues and collects what a subscriber of an exchange receives, in order.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from yarl import URL


@dataclass(frozen=True)
class Seen:
    """A message as an outsider received it."""

    routing_key: str
    body: bytes
    message_id: str | None
    headers: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Onlooker:
    """Looks at one virtual host through short connections of its own."""

    url: str

    async def get(self, queue: str) -> AbstractIncomingMessage | None:
        """Take the oldest message from a queue, or return None."""
        async with self._channel() as channel:
            return await (await channel.get_queue(queue, ensure=False)).get(no_ack=True, fail=False)

    async def expect(self, queue: str) -> AbstractIncomingMessage:
        """Take the oldest message from a queue; AssertionError while it is empty, so that `eventually` waits."""
        message = await self.get(queue)
        if message is None:
            raise AssertionError(f"{queue} is empty")
        return message

    async def depth(self, queue: str) -> int:
        """Return how many messages are ready in a queue; -1 if there is no such queue."""
        async with self._channel() as channel:
            try:
                declared = await channel.declare_queue(queue, passive=True)
            except ChannelNotFoundEntity:
                return -1
            return declared.declaration_result.message_count or 0

    async def delete(self, queue: str) -> None:
        """Delete a queue with all that is in it."""
        async with self._channel() as channel:
            await channel.queue_delete(queue)

    async def publish(self, exchange: str, routing_key: str, body: bytes, *, message_id: str | None = None) -> None:
        """Publish as a stranger would: confirmed, persistent, to whoever listens."""
        async with self._channel() as channel:
            to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
            message = aio_pika.Message(body, message_id=message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await to.publish(message, routing_key, mandatory=False)

    async def subscribe(self, queue: str, exchange: str, key: str) -> None:
        """Make a durable queue bound with `key`, as a subscriber does that must not miss anything."""
        async with self._channel() as channel:
            await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            await (await channel.declare_queue(queue, durable=True)).bind(exchange, key)

    async def take_all(self, queue: str) -> list[Seen]:
        """Take everything that is in a queue now, oldest first."""
        taken: list[Seen] = []
        async with self._channel() as channel:
            source = await channel.get_queue(queue, ensure=False)
            while (message := await source.get(no_ack=True, fail=False)) is not None:
                taken.append(
                    Seen(message.routing_key or "", message.body, message.message_id, dict(message.headers or {}))
                )
        return taken

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        async with amqp(self.url) as connection:
            yield await connection.channel()


@contextlib.asynccontextmanager
async def amqp(url: str) -> AsyncIterator[aio_pika.Connection]:
    """Connect to a broker with the plain client for the block; an attempt that fails is closed as well.

    `aio_pika.connect` leaves a failed attempt to the garbage collector, which complains wherever it happens to run.
    """
    connection = aio_pika.Connection(URL(url))
    try:
        await connection.connect()
        yield connection
    finally:
        await connection.close()
