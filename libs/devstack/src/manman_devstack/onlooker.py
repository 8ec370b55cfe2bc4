"""The broker as another program sees it: for tests and the demo, around our own bus code on purpose.

An onlooker peeks at queues and collects what a subscriber of an exchange receives, in order.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from yarl import URL

AWAY = (OSError, AMQPError, DeliveryError, RuntimeError)
"""What the plain client raises when the broker is away, or has no queue for a message that must have one."""

IN_FLIGHT = 500
"""So many messages wait for their confirms at once."""

ANSWER_WITHIN_S = 15.0

_STREAM_PREFETCH = 500


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
            await to.publish(_persistent(body, message_id), routing_key, mandatory=False)

    async def publish_all(self, exchange: str, messages: Sequence[tuple[str, bytes, str]]) -> None:
        """Publish many in their order, each with its key, body and message id, and wait until all are confirmed.

        Raises one of `AWAY` when the broker is gone or somebody has no queue; then nobody knows which of them arrived.
        """
        async with asyncio.timeout(ANSWER_WITHIN_S + len(messages) / IN_FLIGHT), self._channel() as channel:
            to = await channel.get_exchange(exchange, ensure=False)
            for start in range(0, len(messages), IN_FLIGHT):
                async with _lost_is_away():
                    await asyncio.gather(
                        *(to.publish(_persistent(body, name), key) for key, body, name in messages[start:][:IN_FLIGHT])
                    )

    async def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has; 0 if there is no such queue."""
        async with self._channel() as channel:
            try:
                declared = await channel.declare_queue(queue, passive=True)
            except ChannelNotFoundEntity:
                return 0
            return declared.declaration_result.consumer_count or 0

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

    async def read_stream(self, stream: str, *, timeout_s: float = 30.0) -> list[bytes]:
        """Return the bodies of all messages that a stream holds now, oldest first; TimeoutError when they do not come.

        A stream never says that it has no more. It tells how many there are, a moment late: the newest may be missing.
        """
        bodies: list[bytes] = []
        async with self._channel() as channel:
            await channel.set_qos(prefetch_count=_STREAM_PREFETCH)
            source = await channel.declare_queue(stream, passive=True)
            count = source.declaration_result.message_count or 0
            arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            await source.consume(arrived.put, arguments={"x-stream-offset": "first"})
            async with asyncio.timeout(timeout_s):
                while len(bodies) < count:
                    message = await arrived.get()
                    bodies.append(message.body)
                    await message.ack()
        return bodies

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        async with amqp(self.url) as connection:
            yield await connection.channel(on_return_raises=True)


def _persistent(body: bytes, message_id: str | None) -> aio_pika.Message:
    return aio_pika.Message(body, message_id=message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


@contextlib.asynccontextmanager
async def _lost_is_away() -> AsyncIterator[None]:
    """Turn the cancellation with which the client ends calls on a dead connection into an error."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the connection was lost") from None


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
