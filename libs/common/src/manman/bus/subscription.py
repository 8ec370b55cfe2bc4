"""A *subscription* is one life of a consumer on one channel: it ends when the channel, the queue or the broker does.

`keep_subscribed` follows one subscription with the next, declaring the queue each time. What is taken from a
subscription is acknowledged on it, or not at all: tags of an ended one are void and the broker delivers again.

`subscribe` gives one message at a time and serves every kind of queue; `subscribe_in_bulk` gives a `Lane`, for queues
that get thousands in a second.

Not here: what to do with a message (`manman.bus.consumer`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

import structlog

from manman.background import running
from manman.bus import topology
from manman.bus.connection import CLOSE_TIMEOUT_S, OPERATION_TIMEOUT_S, Backoff, broker_errors
from manman.errors import ManManError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from manman.bus.connection import Connection
    from manman.bus.lane import Lane
    from manman.bus.topology import Queue
    from manman.health import Component

WATCH_INTERVAL_S = 10.0
"""How often a consumer asks whether its queue still exists; normally the broker tells at once."""

LARGEST_CHUNK = 4096
"""So many messages a stream may send beyond the prefetch: it looks at the limit between chunks, not within one."""

SubscriptionT = TypeVar("SubscriptionT", "Subscription", "Lane")

log = structlog.get_logger(__name__)


class Subscription:
    """Messages as they arrive, in order; of a queue at most `prefetch` unacknowledged, of a stream a chunk more."""

    def __init__(self, prefetch: int) -> None:
        self._inbox: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._most = prefetch + LARGEST_CHUNK
        self.ended_because: str | None = None

    async def put(self, message: AbstractIncomingMessage) -> None:
        """Take a message from the broker. The client starts a task per delivery: waiting here would mix the order.

        More than agreed ends the subscription: the next one gets again what was not acknowledged.
        """
        if self.ended_because is not None:
            return
        if self._inbox.qsize() >= self._most:
            self.end(f"the broker sent more than {self._most} messages that were not acknowledged")
        else:
            self._inbox.put_nowait(message)

    def end(self, reason: str) -> None:
        """End this subscription; the first reason counts."""
        if self.ended_because is None:
            self.ended_because = reason
            while not self._inbox.empty():
                self._inbox.get_nowait()
            self._inbox.put_nowait(None)

    async def next(self) -> AbstractIncomingMessage | None:
        """Return the next message, or None when the subscription has ended."""
        if self.ended_because is not None:
            return None
        return await self._inbox.get()

    async def next_batch(self, most: int) -> list[AbstractIncomingMessage]:
        """Wait for one message and return it with all that wait behind it, up to `most`; empty when it has ended."""
        first = await self.next()
        if first is None:
            return []
        batch = [first]
        while len(batch) < most and not self._inbox.empty():
            message = self._inbox.get_nowait()
            if message is None:
                return []
            batch.append(message)
        return batch

    async def acknowledge(self, message: AbstractIncomingMessage, *, all_before: bool = False) -> None:
        """Acknowledge; on an ended subscription this does nothing, the broker delivers again."""
        if self.ended_because is not None:
            return
        try:
            with broker_errors("acknowledging"):
                async with asyncio.timeout(OPERATION_TIMEOUT_S):
                    await message.ack(multiple=all_before)
        except ManManError as error:
            self.end(str(error))


@contextlib.asynccontextmanager
async def subscribe(
    connection: Connection,
    queue: Queue,
    *,
    prefetch: int,
    arguments: Mapping[str, str | int] | None = None,
    declare: bool = True,
) -> AsyncIterator[Subscription]:
    """Consume `queue` for the block; with `declare` it is declared and bound before. Raises the error family."""
    subscription = Subscription(prefetch)
    async with connection.channel(prefetch=prefetch) as channel:
        channel.close_callbacks.add(lambda *_: subscription.end("the channel was closed"))
        with broker_errors(f"consuming {queue.name}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                under = await channel.get_underlay_channel()
                under.on_consumer_cancel_callbacks.add(lambda _: subscription.end("the queue was deleted"))
                if declare:
                    declared = await topology.declare(channel, queue, connection.exchanges)
                else:
                    declared = await channel.get_queue(queue.name, ensure=False)
                await declared.consume(subscription.put, arguments=dict(arguments) if arguments else None)
        async with running(_watch(channel, queue.name, subscription), f"watch-{queue.name}"):
            try:
                yield subscription
            finally:
                subscription.end("no longer wanted")


@contextlib.asynccontextmanager
async def subscribe_in_bulk(connection: Connection, queue: Queue, *, prefetch: int) -> AsyncIterator[Lane]:
    """Declare and bind `queue`, and consume it on a lane of its own for the block. Raises the error family."""
    async with connection.channel() as channel:
        with broker_errors(f"declaring {queue.name}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await topology.declare(channel, queue, connection.exchanges)
        lane = await connection.open_lane()
        try:
            channel.close_callbacks.add(lambda *_: lane.end("the channel that watches the queue was closed"))
            with broker_errors(f"consuming {queue.name}"):
                async with asyncio.timeout(OPERATION_TIMEOUT_S):
                    await lane.consume(queue.name, prefetch=prefetch)
            async with running(_watch(channel, queue.name, lane), f"watch-{queue.name}"):
                yield lane
        finally:
            await lane.close(CLOSE_TIMEOUT_S)


async def keep_subscribed(
    connection: Connection,
    subscribing: Callable[[], AbstractAsyncContextManager[SubscriptionT]],
    queue: Queue,
    serve: Callable[[SubscriptionT], Awaitable[None]],
    *,
    component: Component | None = None,
) -> None:
    """Call `serve` with one subscription after another, for ever. `serve` returns when its subscription has ended."""
    backoff = Backoff()
    while True:
        try:
            async with subscribing() as subscription:
                if component is not None:
                    component.up()
                log.info("consuming", queue=queue.name)
                await serve(subscription)
                reason = subscription.ended_because or "ended"
                backoff.reset()
        except ManManError as error:
            reason = str(error)
        if component is not None:
            component.down(f"not consuming {queue.name}: {reason}")
        log.warning("consumer_lost", queue=queue.name, reason=reason)
        await backoff.pause()
        await connection.wait_up()  # without this the pauses would grow while the broker is away


async def _watch(channel: AbstractChannel, name: str, subscription: Subscription | Lane) -> None:
    """Ask every now and then whether the queue is there; no answer or a refusal ends the subscription."""
    while subscription.ended_because is None:
        await asyncio.sleep(WATCH_INTERVAL_S)
        try:
            with broker_errors(f"looking for {name}"):
                async with asyncio.timeout(OPERATION_TIMEOUT_S):
                    await channel.declare_queue(name, passive=True)
        except (NotFound, Unavailable) as error:
            subscription.end(str(error))
