"""The *consumer*: the only place that acknowledges.

    handler returns            reply if one was asked for, acknowledge
    it raises Unavailable      the database or the broker is away: hold the message, try again with growing pauses
       or TimedOut
    another ManManError        the message is wrong: reply, dead-letter it with the reason in a header, acknowledge
    anything else              a bug of ours: a few tries, then the same

Nothing is ever requeued. A dead letter is a confirmed publish to `<queue>-dlq`, then an acknowledgement, so a crash
in between duplicates it and never loses it. Every handler must stand seeing a message twice.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from manman import clock
from manman.bus.connection import Backoff
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher, Unroutable
from manman.bus.subscription import Subscription, keep_subscribed, subscribe, subscribe_in_bulk
from manman.bus.topology import declare_queue
from manman.errors import ManManError, TimedOut, Unavailable
from manman.messages import dead_letters, routing
from manman.messages.codec import encode
from manman.messages.commands import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aio_pika.abc import AbstractIncomingMessage

    from manman.bus.connection import Connection
    from manman.bus.lane import Lane
    from manman.bus.topology import Queue
    from manman.health import Component

MESSAGES = Counter(
    "manman_messages_total", "Messages taken from a queue, by what became of them.", ["queue", "outcome"]
)
TRIES = 5
LONGEST_HOLD_PAUSE_S = 30.0
HEADER_TEXT_LENGTH = 2000

log = structlog.get_logger(__name__)


async def consume(
    connection: Connection,
    queue: Queue,
    handler: Callable[[Delivery], Awaitable[None]],
    *,
    prefetch: int = 1,
    concurrency: int = 1,
    component: Component | None = None,
) -> None:
    """Give every message of `queue` to `handler`, for ever; ends only by cancellation.

    Messages are started in the order of the queue, `concurrency` of them at a time, so a handler that must keep an
    order beyond 1 puts its message into an inbox before its first await. A handler whose subscription is lost runs
    on to its end; its message comes again.
    """
    async with Publisher(connection) as publisher, asyncio.TaskGroup() as group:
        worker = _Worker(connection, queue, publisher)
        free = asyncio.Semaphore(concurrency)

        async def handle(subscription: Subscription, message: AbstractIncomingMessage) -> None:
            try:
                await worker.handle_one(handler, to_delivery(message))
                await subscription.acknowledge(message)
            finally:
                free.release()

        async def serve(subscription: Subscription) -> None:
            while (message := await subscription.next()) is not None:
                await free.acquire()
                if concurrency == 1:
                    await handle(subscription, message)
                else:
                    group.create_task(handle(subscription, message), name=f"handle-{queue.name}")

        most = max(prefetch, concurrency)
        await keep_subscribed(
            connection, lambda: subscribe(connection, queue, prefetch=most), queue, serve, component=component
        )


async def consume_batches(
    connection: Connection,
    queue: Queue,
    handler: Callable[[list[Delivery]], Awaitable[Sequence[Exception | None]]],
    *,
    prefetch: int = 3000,
    max_batch: int = 1000,
    component: Component | None = None,
) -> None:
    """Give whatever has arrived, up to `max_batch` messages in order, to `handler`, for ever.

    The handler returns one entry per message: None is done, an exception sends that message alone to the dead
    letters. Raising Unavailable holds the batch; any other exception means a few tries, then one by one to find the
    bad one. One acknowledgement covers the batch. The messages come on a lane of their own.
    """
    async with Publisher(connection) as publisher:
        worker = _Worker(connection, queue, publisher)

        async def serve(lane: Lane) -> None:
            while True:
                batch, last_tag = await lane.next_batch(max_batch)
                if not batch:
                    return
                if await worker.handle_batch(handler, batch, lane):
                    lane.acknowledge(last_tag)

        await keep_subscribed(
            connection,
            lambda: subscribe_in_bulk(connection, queue, prefetch=prefetch),
            queue,
            serve,
            component=component,
        )


def to_delivery(message: AbstractIncomingMessage) -> Delivery:
    """Return the message without its client library."""
    return Delivery(
        routing_key=message.routing_key or "",
        body=message.body,
        message_id=message.message_id,
        headers=message.headers,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        redelivered=bool(message.redelivered),
    )


class _Worker:
    """What happens to the messages of one queue, apart from acknowledging."""

    def __init__(self, connection: Connection, queue: Queue, publisher: Publisher) -> None:
        self._connection = connection
        self._queue = queue
        self._letters = routing.dead_letter_queue(queue.name) if queue.dead_letters is None else queue.dead_letters.name
        self._publisher = publisher
        self._handled = MESSAGES.labels(queue.name, "handled")

    async def handle_one(self, handler: Callable[[Delivery], Awaitable[None]], delivery: Delivery) -> None:
        """Bring one message to an end: handled, or in the dead letters."""
        error = await self._try_one(handler, delivery)
        await self._reply(delivery, error)
        await self._settle(delivery, error)

    async def handle_batch(
        self,
        handler: Callable[[list[Delivery]], Awaitable[Sequence[Exception | None]]],
        batch: list[Delivery],
        lane: Lane,
    ) -> bool:
        """Bring a batch to an end. False if the lane ended meanwhile: then all of it comes again."""
        results = await self._try_batch(handler, batch, lane)
        if lane.ended_because is not None:
            return False
        if results is None:
            for delivery in batch:

                async def alone(one: Delivery) -> None:
                    (result,) = await handler([one])
                    if result is not None:
                        raise result

                await self._settle(delivery, await self._try_one(alone, delivery))
        else:
            refused = [(delivery, error) for delivery, error in zip(batch, results, strict=True) if error is not None]
            self._handled.inc(len(batch) - len(refused))
            for delivery, error in refused:
                await self._settle(delivery, error)
        return lane.ended_because is None

    async def _try_batch(
        self,
        handler: Callable[[list[Delivery]], Awaitable[Sequence[Exception | None]]],
        batch: list[Delivery],
        lane: Lane,
    ) -> Sequence[Exception | None] | None:
        """Return the handler's answers, or None when the batch must be handled one by one."""
        hold, again = Backoff(longest_s=LONGEST_HOLD_PAUSE_S), Backoff()
        failures = 0
        while lane.ended_because is None:
            try:
                return await handler(batch)
            except (Unavailable, TimedOut) as error:
                log.warning("holding", queue=self._queue.name, messages=len(batch), reason=str(error))
                await hold.pause()
            except Exception:
                failures += 1
                log.exception("batch_failed", queue=self._queue.name, messages=len(batch), tries=failures)
                if failures == TRIES or len(batch) == 1:
                    return None
                await again.pause()
        return [None] * len(batch)

    async def _try_one(self, handler: Callable[[Delivery], Awaitable[None]], delivery: Delivery) -> Exception | None:
        """Return None when the handler succeeded, else the error that sends the message to the dead letters."""
        hold, again = Backoff(longest_s=LONGEST_HOLD_PAUSE_S), Backoff()
        failures = 0
        while True:
            try:
                await handler(delivery)
            except (Unavailable, TimedOut) as error:
                log.warning("holding", queue=self._queue.name, key=delivery.routing_key, reason=str(error))
                await hold.pause()
            except ManManError as error:
                return error
            except Exception as error:
                failures += 1
                log.exception("handler_failed", queue=self._queue.name, key=delivery.routing_key, tries=failures)
                if failures == TRIES:
                    return error
                await again.pause()
            else:
                return None

    async def _settle(self, delivery: Delivery, error: Exception | None) -> None:
        if error is None:
            self._handled.inc()
            return
        MESSAGES.labels(self._queue.name, "dead_lettered").inc()
        log.error(
            "dead_lettered",
            queue=self._queue.name,
            key=delivery.routing_key,
            message_id=delivery.message_id,
            reason=type(error).__name__,
            error=str(error),
        )
        await self._dead_letter(delivery, error)

    async def _dead_letter(self, delivery: Delivery, error: Exception) -> None:
        headers: dict[str, str | int] = {
            dead_letters.REASON: type(error).__name__,
            dead_letters.ERROR: str(error)[:HEADER_TEXT_LENGTH],
            dead_letters.QUEUE: self._queue.name,
            dead_letters.ROUTING_KEY: delivery.routing_key,
            dead_letters.DEAD_AT: clock.now().isoformat(),
        }
        if replay := delivery.headers.get(dead_letters.REPLAYED):
            headers[dead_letters.REPLAYED] = str(replay)
        hold = Backoff(longest_s=LONGEST_HOLD_PAUSE_S)
        while True:
            try:
                await self._publisher.publish(
                    routing.DEFAULT_EXCHANGE,
                    self._letters,
                    delivery.body,
                    message_id=delivery.message_id or str(uuid.uuid4()),
                    correlation_id=delivery.correlation_id,
                    headers=headers,
                    mandatory=True,
                )
            except Unroutable:
                await self._declare_again()
            except Unavailable as away:
                log.warning("holding_dead_letter", queue=self._queue.name, reason=str(away))
            else:
                return
            await hold.pause()

    async def _declare_again(self) -> None:
        try:
            if self._queue.dead_letters is not None:
                await declare_queue(self._connection, self._queue.dead_letters)
        except ManManError as error:
            log.warning("dead_letter_queue_missing", queue=self._queue.name, reason=str(error))

    async def _reply(self, delivery: Delivery, error: Exception | None) -> None:
        """Answer a caller that asked for it. One that does not listen any more has given up: nothing is retried."""
        if not delivery.reply_to or not delivery.correlation_id:
            return
        text = str(error) if isinstance(error, ManManError) else "internal error" if error is not None else ""
        body = encode(Reply(correlation_id=delivery.correlation_id, success=error is None, error=text))
        try:
            await self._publisher.publish(
                routing.DEFAULT_EXCHANGE,
                delivery.reply_to,
                body,
                message_id=str(uuid.uuid4()),
                correlation_id=delivery.correlation_id,
                persistent=False,
            )
        except Unavailable as away:
            log.warning("reply_not_sent", queue=self._queue.name, reason=str(away))
