"""The *publisher*: a message counts as sent when the broker has confirmed it, and not before.

A confirm that did not come (time limit, connection lost) is Unavailable: the message may or may not have arrived, so
whoever sends again uses the same `message_id` and receivers drop what they have seen.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import aio_pika
import msgspec
import prometheus_client
from aio_pika.exceptions import PublishError

from manman import clock, tracing
from manman.bus.confirms import RETURNED
from manman.bus.connection import (
    CLOSE_TIMEOUT_S,
    OPERATION_TIMEOUT_S,
    broker_errors,
    close_quietly,
    declare_exchanges,
)
from manman.errors import ManManError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from aio_pika.abc import AbstractChannel

    from manman.bus.connection import Connection
    from manman.bus.lane import Lane

PUBLISHED = prometheus_client.Counter(
    "manman_messages_published_total", "Messages handed to the broker.", ["exchange", "outcome"]
)
_published = functools.cache(PUBLISHED.labels)
MAX_IN_FLIGHT = 1000
"""Unconfirmed messages of one `publish_many`; beyond that more of them gain nothing."""


class Unroutable(Exception):  # noqa: N818 - reads like the rest of the family
    """Nobody has a queue for this mandatory message: the broker sent it back."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        super().__init__(f"no queue takes {routing_key} from exchange {exchange or 'default'!r}")


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message to be sent. `expiration_ms` is how long it may wait in a queue."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    mandatory: bool = False
    expiration_ms: int | None = None
    headers: Mapping[str, str | int] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    persistent: bool = True


Result: TypeAlias = Unroutable | ManManError | None
"""What became of one message of many: None is confirmed."""


class Publisher:
    """Publishes one message on a channel of its own, and many on a lane of its own.

    Each is opened when first needed, and again after every loss.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None
        self._lane: Lane | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop(self._channel)
        await self._drop_lane(self._lane)

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        message_id: str,
        mandatory: bool = False,
        expiration_ms: int | None = None,
        headers: Mapping[str, str | int] | None = None,
        correlation_id: str | None = None,
        reply_to: str | None = None,
        persistent: bool = True,
        timeout_s: float = OPERATION_TIMEOUT_S,
    ) -> None:
        """Send one message and wait for its confirm, `timeout_s` at most, reconnecting included.

        Within a span its header says so.
        Unroutable if `mandatory` and no queue takes it, Unavailable if the broker is away or did not confirm.
        """
        message = Outgoing(
            exchange=exchange,
            routing_key=routing_key,
            body=body,
            message_id=message_id,
            mandatory=mandatory,
            expiration_ms=expiration_ms,
            headers=tracing.carried(headers, tracing.current()),
            correlation_id=correlation_id,
            reply_to=reply_to,
            persistent=persistent,
        )
        await self._send(await self._open(timeout_s), message, timeout_s)

    async def publish_many(
        self, messages: Sequence[Outgoing], *, timeout_s: float = OPERATION_TIMEOUT_S
    ) -> list[Result]:
        """Send messages in their order without waiting in between; return what became of each, in the same order.

        Raises nothing but cancellation. After the first loss of the connection the rest is Unavailable, too.
        """
        results: list[Result] = []
        for start in range(0, len(messages), MAX_IN_FLIGHT):
            try:
                sender = await self.open_sender(timeout_s=timeout_s)
            except ManManError as error:
                return [*results, *[error] * (len(messages) - start)]
            results += await sender.send(messages[start : start + MAX_IN_FLIGHT], timeout_s=timeout_s)
        return results

    async def open_sender(self, *, timeout_s: float = OPERATION_TIMEOUT_S) -> Sender:
        """Return what sends on the lane that there is now, opened if need be; Unavailable if the broker is away."""
        return Sender(await self._open_lane(timeout_s))

    async def _send(self, channel: AbstractChannel, message: Outgoing, timeout_s: float) -> None:
        outcome = "failed"
        try:
            with broker_errors(f"publishing {message.routing_key}"):
                async with asyncio.timeout(timeout_s):
                    await self._put(channel, message)
            outcome = "confirmed"
        except Unroutable:
            outcome = "unroutable"
            raise
        except ManManError as error:
            await self._drop(channel)
            raise Unavailable(str(error)) from error
        finally:
            _published(message.exchange, outcome).inc()

    async def _put(self, channel: AbstractChannel, message: Outgoing) -> None:
        exchange: Any = (
            await channel.get_exchange(message.exchange, ensure=False) if message.exchange else channel.default_exchange
        )
        try:
            await exchange.publish(self._dress(message), message.routing_key, mandatory=message.mandatory)
        except PublishError as error:
            raise Unroutable(message.exchange, message.routing_key) from error

    def _dress(self, message: Outgoing) -> aio_pika.Message:
        return aio_pika.Message(
            message.body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT if message.persistent else None,
            message_id=message.message_id,
            app_id=self._connection.name,
            timestamp=clock.now(),
            expiration=None if message.expiration_ms is None else message.expiration_ms / 1000,
            headers=dict(message.headers) if message.headers else None,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
        )

    async def _open(self, timeout_s: float) -> AbstractChannel:
        with broker_errors("opening a channel to publish"):
            async with asyncio.timeout(timeout_s), self._opening:
                if self._channel is not None and not self._channel.is_closed:
                    return self._channel
                await self._connection.wait_up()
                channel = await self._connection.open_channel(confirms=True)
                try:
                    await declare_exchanges(channel, self._connection.exchanges)
                except BaseException:
                    await close_quietly(channel)
                    raise
                self._channel = channel
                return channel

    async def _drop(self, channel: AbstractChannel | None) -> None:
        if channel is None or channel is not self._channel:
            return
        self._channel = None
        await close_quietly(channel)

    async def _open_lane(self, timeout_s: float) -> Lane:
        with broker_errors("opening a lane to publish"):
            async with asyncio.timeout(timeout_s), self._opening:
                if self._lane is not None and self._lane.ended_because is None:
                    return self._lane
                await self._drop_lane(self._lane)
                await self._connection.wait_up()
                async with self._connection.channel() as channel:
                    await declare_exchanges(channel, self._connection.exchanges)
                lane = await self._connection.open_lane()
                try:
                    await lane.confirm()
                except BaseException:
                    await lane.close(CLOSE_TIMEOUT_S)
                    raise
                self._lane = lane
                return lane

    async def _drop_lane(self, lane: Lane | None) -> None:
        if lane is None or lane is not self._lane:
            return
        self._lane = None
        await lane.close(CLOSE_TIMEOUT_S)


class Sender:
    """Sends many messages, without waiting for those before, on one lane: nothing is sent after one that was lost.

    So messages that are sent again after a loss keep their order, whatever was under way.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._loop = asyncio.get_running_loop()

    def send(
        self, messages: Sequence[Outgoing], *, timeout_s: float = OPERATION_TIMEOUT_S
    ) -> asyncio.Future[list[Result]]:
        """Send messages in their order; the future gives what became of each, in the same order."""
        future: asyncio.Future[list[Result]] = self._loop.create_future()

        def settled(outcomes: list[str | None]) -> None:
            lost = next((outcome for outcome in outcomes if outcome not in (None, RETURNED)), None)
            if lost is not None:
                self._lane.abort(lost)
            results = [_result(message, outcome) for message, outcome in zip(messages, outcomes, strict=True)]
            counts: dict[tuple[str, str], int] = defaultdict(int)
            for counted in map(_counted, messages, results):
                counts[counted] += 1
            for counted, count in counts.items():
                _published(*counted).inc(count)
            if not future.done():
                future.set_result(results)

        self._lane.publish(messages, settled, timeout_s=timeout_s)
        return future


def _result(message: Outgoing, outcome: str | None) -> Result:
    if outcome is None:
        return None
    if outcome == RETURNED:
        return Unroutable(message.exchange, message.routing_key)
    return Unavailable(f"the broker failed while publishing {message.routing_key}: {outcome}")


def _counted(message: Outgoing, result: Result) -> tuple[str, str]:
    """Return under which exchange and outcome a message is counted."""
    return message.exchange, (
        "confirmed" if result is None else "unroutable" if isinstance(result, Unroutable) else "failed"
    )
