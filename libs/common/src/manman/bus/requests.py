"""A *request* is a command whose sender waits for the answer, for things that change no row (console input).

Replies come on a queue that lives as long as the connection. A caller that gave up does not hear a late reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Self

import structlog

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Backoff
from manman.bus.publisher import Publisher, Unroutable
from manman.bus.subscription import Subscription, subscribe
from manman.errors import Invalid, ManManError, TimedOut, Unavailable
from manman.messages import routing
from manman.messages.codec import decode
from manman.messages.commands import Reply

if TYPE_CHECKING:
    from types import TracebackType

    from manman.bus.connection import Connection

REPLY_PREFETCH = 100
MAX_WAITING = 1000
"""Calls in flight from one process; more are refused, because somebody is in a loop."""

log = structlog.get_logger(__name__)


class Requests:
    """Sends requests and gives each caller its own reply. An async context manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._queue_name: str | None = None
        self._listening = asyncio.Event()
        self._parts = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._publisher = await self._parts.enter_async_context(Publisher(self._connection))
        await self._parts.enter_async_context(running(self._listen(), "bus-replies"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._parts.__aexit__(kind, error, trace)

    async def call(
        self, routing_key: str, body: bytes, *, timeout_s: float = 10.0, expiration_ms: int | None = None
    ) -> Reply:
        """Send the request and return the reply, whether it tells of success or not.

        Unavailable if the broker is away or nobody takes the key (the host has no queue); TimedOut if no reply came
        in `timeout_s`. The request expires in the queue with the wait, unless `expiration_ms` says otherwise.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} requests are waiting for replies already")
        correlation_id = str(uuid.uuid4())
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = reply
        try:
            async with asyncio.timeout(timeout_s):
                await self._listening.wait()
                await self._publisher.publish(
                    routing.EXCHANGE,
                    routing_key,
                    body,
                    message_id=str(uuid.uuid4()),
                    mandatory=True,
                    expiration_ms=expiration_ms or max(1, int(timeout_s * 1000)),
                    correlation_id=correlation_id,
                    reply_to=self._queue_name,
                    timeout_s=timeout_s,
                )
                return await reply
        except Unroutable as error:
            raise Unavailable(f"the host has no command queue: {error}") from error
        except TimeoutError:
            if not self._listening.is_set():
                raise Unavailable("the broker cannot be reached") from None
            raise TimedOut(f"no reply to {routing_key} within {timeout_s:g} s") from None
        finally:
            del self._waiting[correlation_id]

    async def _listen(self) -> None:
        """Hear replies, on a new queue for each connection: the old one may still be held by the lost one."""
        backoff = Backoff()
        while True:
            await self._connection.wait_up()
            queue = topology.reply_queue(uuid.uuid4())
            try:
                async with subscribe(self._connection, queue, prefetch=REPLY_PREFETCH) as subscription:
                    self._queue_name = queue.name
                    self._listening.set()
                    backoff.reset()
                    await self._hear(subscription)
            except ManManError as error:
                log.warning("replies_lost", reason=str(error))
            finally:
                self._listening.clear()
            await backoff.pause()

    async def _hear(self, subscription: Subscription) -> None:
        while (message := await subscription.next()) is not None:
            try:
                reply = decode(Reply, message.body)
            except Invalid as error:
                log.warning("reply_unreadable", reason=str(error))
            else:
                waiting = self._waiting.get(reply.correlation_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
            await subscription.acknowledge(message)
