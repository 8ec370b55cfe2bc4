"""A *lane* is one connection to the broker with one channel and one purpose: consume a queue, or publish with confirms.

It exists for what passes by the thousand: messages are read and written in whole buffers, without a task, a future or
a lock for each. It declares nothing and restores nothing (ADR 0012): whatever ends it (the connection, the channel, the
queue, a silent broker) is its last word, `ended_because`, and whoever had it opens another.

Not here: which bytes a frame is (`manman.bus.frames`), and what to do with a message (`manman.bus.consumer`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

from pamqp import commands, exceptions, header
from pamqp import frame as codec

from manman import clock
from manman.bus import frames
from manman.bus.confirms import Confirms
from manman.bus.delivery import Delivery
from manman.errors import Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from pamqp import base
    from pamqp.common import FieldTable
    from yarl import URL

    from manman.bus.publisher import Outgoing

SILENT_HEARTBEATS = 4
"""A broker that says nothing for so many heartbeat intervals is given up."""

ACKNOWLEDGE_WITHIN_S = 0.02
"""What is done within so long is acknowledged together: each acknowledgement is a write to the queue's log."""

FRAME_MAX = 128 * 1024
_CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "consumer_cancel_notify": True,
    "basic.nack": True,
    "authentication_failure_close": True,
}
_RETURN = (0, False, "")
"""Stands for a `basic.return` where a delivery has its tag, whether it comes again, and its key."""

ReplyT = TypeVar("ReplyT", bound="base.Frame")


class Lane(asyncio.Protocol):
    """Made by `open_lane`; for one consumer, or for any number of publishers."""

    def __init__(self, name: str, heartbeat_s: int) -> None:
        self.ended_because: str | None = None
        self._name = name
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._frame_max = FRAME_MAX
        self._unread = b""
        self._heard_at = self._loop.time()
        self._beating: asyncio.TimerHandle | None = None
        self._reply: asyncio.Future[base.Frame] = self._loop.create_future()
        self._gone = asyncio.Event()
        # the message that is coming in: what its method said, its properties, its body so far
        self._method = _RETURN
        self._properties = frames.NOTHING
        self._body = b""
        # consuming
        self._inbox: deque[Delivery] = deque()
        self._last_tag = 0
        self._prefetch = 0
        self._done_tag = 0
        self._acknowledged_tag = 0
        self._acknowledging: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        # publishing
        self._next_tag = 1
        self._unconfirmed: deque[Confirms] = deque()

    async def consume(self, queue: str, *, prefetch: int) -> None:
        """Begin to receive from `queue`, at most `prefetch` messages unacknowledged."""
        self._prefetch = prefetch
        await self._call(commands.Basic.Qos(prefetch_count=prefetch), commands.Basic.QosOk)
        await self._call(commands.Basic.Consume(queue=queue, consumer_tag="lane"), commands.Basic.ConsumeOk)

    async def next_batch(self, most: int) -> tuple[list[Delivery], int]:
        """Wait for a message; return it with all that wait behind it, up to `most`, and the tag of the last.

        Empty when the lane has ended.
        """
        while not self._inbox and self.ended_because is None:
            self._changed.clear()
            await self._changed.wait()
        batch = [self._inbox.popleft() for _ in range(min(most, len(self._inbox)))]
        return batch, self._last_tag - len(self._inbox)  # tags of a channel have no gaps

    def acknowledge(self, tag: int) -> None:
        """Acknowledge everything up to `tag`: soon, or at once when it is many.

        On an ended lane nothing happens, the broker delivers again.
        """
        if self.ended_because is not None:
            return
        self._done_tag = tag
        if tag - self._acknowledged_tag >= self._prefetch / 4:
            self._acknowledge_done()
        elif self._acknowledging is None:
            self._acknowledging = self._loop.call_later(ACKNOWLEDGE_WITHIN_S, self._acknowledge_done)

    def _acknowledge_done(self) -> None:
        if self._acknowledging is not None:
            self._acknowledging.cancel()
            self._acknowledging = None
        if self._acknowledged_tag < self._done_tag and self.ended_because is None:
            self._transport.write(frames.acknowledge(self._done_tag))
            self._acknowledged_tag = self._done_tag

    async def confirm(self) -> None:
        """Let the broker confirm what is published from now on."""
        await self._call(commands.Confirm.Select(), commands.Confirm.SelectOk)

    def publish(
        self, messages: Sequence[Outgoing], settled: Callable[[list[str | None]], None], *, timeout_s: float
    ) -> None:
        """Send messages in their order, behind those that were sent before.

        `settled` is called once, with what became of each: None (confirmed), RETURNED, or why it is not confirmed.
        """
        if self.ended_because is not None or not messages:
            settled([self.ended_because] * len(messages))
            return

        def complete() -> None:
            timer.cancel()
            self._unconfirmed.remove(confirms)
            settled(confirms.outcomes)

        confirms = Confirms(self._next_tag, messages, complete)
        late = f"no confirm within {timeout_s:g} s"
        timer = self._loop.call_later(timeout_s, confirms.settle_until, confirms.last_tag, late)
        self._next_tag += len(messages)
        self._unconfirmed.append(confirms)
        now_s = int(clock.now().timestamp())
        self._transport.write(
            b"".join([frames.publish(message, self._name, now_s, self._frame_max) for message in messages])
        )

    def end(self, reason: str) -> None:
        """End the lane; the first reason counts. Whoever waits for something on it is told."""
        if self.ended_because is not None:
            return
        self.ended_because = reason
        for timer in (self._beating, self._acknowledging):
            if timer is not None:
                timer.cancel()
        if not self._reply.done():
            self._reply.set_result(commands.Channel.Close(reply_text=reason))
        for confirms in [*self._unconfirmed]:  # who is settled is taken out
            confirms.settle_until(confirms.last_tag, reason)
        self._inbox.clear()
        self._changed.set()

    def abort(self, reason: str) -> None:
        """End the lane and its connection at once: what is not sent yet is not sent any more."""
        self.end(reason)
        self._transport.abort()

    async def close(self, timeout_s: float) -> None:
        """Say good-bye and close; a broker that does not answer is left after `timeout_s`."""
        self._acknowledge_done()
        if self.ended_because is None:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(timeout_s):
                    bye = commands.Connection.Close(reply_code=200, class_id=0, method_id=0)
                    await self._call(bye, commands.Connection.CloseOk, channel=0)
        self.abort("it was closed")
        await self._gone.wait()

    async def greet(self, url: URL) -> None:
        """Log in, agree on the limits, and open the channel; Unavailable in the broker's words when it refuses."""
        self._transport.write(header.ProtocolHeader().marshal())
        await self._answer(commands.Connection.Start)
        start = commands.Connection.StartOk(
            client_properties={"product": "manman", "connection_name": self._name, "capabilities": _CAPABILITIES},
            response=f"\0{url.user or 'guest'}\0{url.password or 'guest'}",
        )
        tune = await self._call(start, commands.Connection.Tune, channel=0)
        self._frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
        self._write(commands.Connection.TuneOk(1, self._frame_max, self._heartbeat_s), channel=0)
        await self._call(
            commands.Connection.Open(virtual_host=url.path[1:] or "/"), commands.Connection.OpenOk, channel=0
        )
        await self._call(commands.Channel.Open(), commands.Channel.OpenOk)
        self._beat()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the socket."""
        self.end(f"the connection was lost: {exc}" if exc else "the connection was lost")
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        """Take the whole frames from what has arrived, and keep the rest."""
        self._heard_at = self._loop.time()
        buffer = self._unread + data if self._unread else data
        start, arrived = 0, len(buffer)
        try:
            while arrived - start >= frames.OVERHEAD:
                kind, _, size = frames.HEAD.unpack_from(buffer, start)
                stop = start + frames.OVERHEAD + size
                if stop > arrived:
                    break
                self._take(kind, buffer[start + frames.HEAD.size : stop - 1])
                start = stop
        except (ValueError, LookupError, exceptions.PAMQPException) as error:
            self.abort(f"it sent what is not AMQP 0-9-1: {error}")
        self._unread = buffer[start:]
        if self._inbox:
            self._changed.set()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == frames.BODY:
            self._body = self._body + payload if self._body else payload
            if len(self._body) >= self._properties.body_size:
                self._complete()
        elif kind == frames.HEADER:
            self._properties, self._body = frames.read_header(payload), b""
            if not self._properties.body_size:
                self._complete()
        elif kind == frames.METHOD:
            self._take_method(payload)

    def _take_method(self, payload: bytes) -> None:
        method = payload[: frames.METHOD_ID_SIZE]
        if method == frames.DELIVER:
            self._method = frames.read_deliver(payload)
        elif method == frames.ACK:
            self._confirmed(*frames.read_confirm(payload), None)
        elif method == frames.NACK:
            self._confirmed(*frames.read_confirm(payload), "it refused the message")
        elif method == frames.RETURN:
            self._method = _RETURN
        else:
            self._told(codec.unmarshal(frames.frame(frames.METHOD, payload))[2])

    def _complete(self) -> None:
        """Take a message of which everything has arrived."""
        tag, redelivered, key = self._method
        said = self._properties
        if self._method is _RETURN:
            for confirms in self._unconfirmed:
                if confirms.settle_returned(said.message_id):
                    break
        elif self.ended_because is None:
            delivery = Delivery(
                routing_key=key,
                body=self._body,
                message_id=said.message_id,
                headers=said.headers,
                correlation_id=said.correlation_id,
                reply_to=said.reply_to,
                redelivered=redelivered,
            )
            self._inbox.append(delivery)
            self._last_tag = tag

    def _confirmed(self, tag: int, multiple: bool, outcome: str | None) -> None:  # noqa: FBT001 - as the frame has it
        for confirms in [*self._unconfirmed]:
            if multiple and confirms.first_tag <= tag:
                confirms.settle_until(tag, outcome)
            elif confirms.first_tag <= tag <= confirms.last_tag:
                confirms.settle(tag, outcome)

    def _told(self, method: object) -> None:
        match method:
            case commands.Connection.Close() | commands.Channel.Close():
                self.end(f"{method.reply_code} {method.reply_text}")
            case commands.Basic.Cancel():
                self.end("the queue was deleted")
            case commands.Connection.CloseOk() if self.ended_because is not None:
                pass
            case _ if not self._reply.done():
                self._reply.set_result(cast("base.Frame", method))

    async def _call(self, method: base.Frame, answer: type[ReplyT], *, channel: int = frames.CHANNEL) -> ReplyT:
        """Send a method and return what the broker answers to it; one at a time."""
        if self.ended_because is not None:
            raise Unavailable(f"the broker failed: {self.ended_because}")
        self._reply = self._loop.create_future()
        self._write(method, channel=channel)
        return await self._answer(answer)

    async def _answer(self, kind: type[ReplyT]) -> ReplyT:
        reply = await self._reply
        if not isinstance(reply, kind):
            raise Unavailable(f"the broker failed: {self.ended_because or f'it answered {reply.name}'}")
        return reply

    def _write(self, method: base.Frame, *, channel: int) -> None:
        self._transport.write(codec.marshal(method, channel))

    def _beat(self) -> None:
        silent_s = self._loop.time() - self._heard_at
        if silent_s > SILENT_HEARTBEATS * self._heartbeat_s:
            self.abort(f"it was silent for {silent_s:.0f} s")
            return
        self._transport.write(frames.KEEP_ALIVE)
        self._beating = self._loop.call_later(self._heartbeat_s / 2, self._beat)


async def open_lane(url: URL, name: str, *, heartbeat_s: int, tls: ssl.SSLContext | None) -> Lane:
    """Connect and open the channel; the caller closes it. Raises Unavailable or OSError, and knows no time limit."""
    loop = asyncio.get_running_loop()
    port = url.port or (5671 if tls else 5672)
    _, lane = await loop.create_connection(lambda: Lane(name, heartbeat_s), url.host or "localhost", port, ssl=tls)
    try:
        await lane.greet(url)
    except BaseException:
        lane.end("it was never open")
        await lane.close(0)
        raise
    return lane
