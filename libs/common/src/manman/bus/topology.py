"""The queues and streams of the platform as values, and the one place that declares and binds them.

A *queue* here is a description: declaring it again is how every consumer starts, so a queue that somebody deleted
comes back. Names and arguments are spelled in `manman.messages.routing`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aio_pika.exceptions import AMQPError

from manman.bus.connection import OPERATION_TIMEOUT_S, broker_errors, declare_exchanges
from manman.errors import NotFound, Unavailable
from manman.messages import routing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from aio_pika.abc import AbstractChannel, AbstractQueue

    from manman.bus.connection import Connection

EVENT_DELIVERY_LIMIT = 50
"""Redeliveries before the broker itself dead-letters. We hold and retry in process, so only crashes count here."""

DEAD_LETTER_MAX_LENGTH = 10_000
LOG_STREAM_MAX_BYTES = 64 * 1024 * 1024
LOG_STREAM_SEGMENT_BYTES = 4 * 1024 * 1024
LOG_STREAM_MAX_AGE_S = 7 * 24 * 3600
HASH_EXCHANGE = "x-consistent-hash"
HASH_PLUGIN = "rabbitmq_consistent_hash_exchange"
EQUAL_SHARE = "1"
"""To an exchange of that type the key of a binding is a weight."""


@dataclass(frozen=True)
class Divider:
    """An exchange behind the topic exchange that divides what comes with some keys among queues, by a header.

    Messages that say the same in it go to one queue, and so do all that do not have it. Its queues are alike.
    """

    name: str
    header: str
    keys: Sequence[str]
    queues: Sequence[str]


@dataclass(frozen=True)
class Queue:
    """What a queue is: its name, its arguments byte for byte, and the keys of one exchange it is bound with.

    One of a `divider` is bound to that, and declared together with all its queues.
    """

    name: str
    arguments: routing.Arguments = field(default_factory=dict)
    exchange: str = routing.EXCHANGE
    keys: Sequence[str] = ()
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    dead_letters: Queue | None = None
    divider: Divider | None = None


class Content(NamedTuple):
    """How many messages wait in a queue, those that a consumer holds apart, and how many consumers it has."""

    messages: int
    consumers: int


def event_queue(name: str, keys: Sequence[str], *, exchange: str = routing.EXCHANGE) -> Queue:
    """Describe a quorum queue that only we declare, with its dead-letter queue."""
    dead = Queue(
        name=routing.dead_letter_queue(name),
        arguments=routing.dead_letter_queue_arguments(max_length=DEAD_LETTER_MAX_LENGTH),
    )
    arguments = routing.event_queue_arguments(name, delivery_limit=EVENT_DELIVERY_LIMIT)
    return Queue(name=name, arguments=arguments, exchange=exchange, keys=tuple(keys), dead_letters=dead)


def event_partitions(name: str, keys: Sequence[str], count: int) -> list[Queue]:
    """Describe the queue `event_queue(name, keys)` divided by hosts into `count` queues, which share its dead letters.

    One is that queue itself.
    """
    whole = event_queue(name, keys)
    if count == 1:
        return [whole]
    names = [routing.partition(name, count, number) for number in range(count)]
    divider = Divider(routing.divider(name, count), routing.HOST_HEADER, tuple(keys), tuple(names))
    return [dataclasses.replace(whole, name=one, keys=(), divider=divider) for one in names]


def host_command_queue(server_id: int) -> Queue:
    """Describe the queue of one host's commands; another party declares it with exactly these arguments."""
    name = routing.host_commands_queue(server_id)
    return Queue(
        name=name,
        arguments=routing.dead_letter_arguments(name),
        keys=routing.command_keys(server_id),
        dead_letters=Queue(name=routing.dead_letter_queue(name)),
    )


def reply_queue(owner: UUID) -> Queue:
    """Describe the queue for replies to one process; it ends with the connection that declares it."""
    return Queue(name=routing.reply_queue(owner), durable=False, exclusive=True, auto_delete=True)


def log_stream(session_id: int) -> Queue:
    """Describe the stream that keeps a session's log lines, bounded by bytes and age."""
    return Queue(
        name=routing.log_stream(session_id),
        arguments=routing.log_stream_arguments(
            max_bytes=LOG_STREAM_MAX_BYTES, max_age_s=LOG_STREAM_MAX_AGE_S, segment_bytes=LOG_STREAM_SEGMENT_BYTES
        ),
        keys=(routing.logs_session(session_id),),
    )


async def declare(channel: AbstractChannel, queue: Queue, exchanges: tuple[str, ...] = ()) -> AbstractQueue:
    """Declare exchanges, dead-letter queue, queue and bindings on `channel`. Raises what the client raises."""
    await declare_exchanges(channel, exchanges)
    if queue.dead_letters is not None:
        await declare(channel, queue.dead_letters)
    if queue.divider is not None:
        await _declare_divided(channel, queue, queue.divider)
    declared = await channel.declare_queue(
        queue.name,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=dict(queue.arguments) or None,
    )
    for key in queue.keys:
        await declared.bind(queue.exchange, routing_key=key)
    return declared


async def _declare_divided(channel: AbstractChannel, like: Queue, divider: Divider) -> None:
    """Declare all queues of the divider before it gets its first message: each queue more moves hosts to others."""
    try:
        exchange = await channel.declare_exchange(
            divider.name, HASH_EXCHANGE, durable=True, arguments={"hash-header": divider.header}
        )
    except AMQPError as error:
        if "unknown exchange type" not in str(error):
            raise
        raise Unavailable(
            f"the broker cannot divide messages: enable its plugin, rabbitmq-plugins enable {HASH_PLUGIN}"
        ) from error
    for name in divider.queues:
        queue = await channel.declare_queue(name, durable=like.durable, arguments=dict(like.arguments))
        await queue.bind(exchange, routing_key=EQUAL_SHARE)
    for key in divider.keys:
        await exchange.bind(like.exchange, routing_key=key)


async def look_at(connection: Connection, name: str) -> Content | None:
    """Return what is in a queue; None if there is no such queue."""
    try:
        async with connection.channel() as channel:
            with broker_errors(f"looking at {name}"):
                async with asyncio.timeout(OPERATION_TIMEOUT_S):
                    found = (await channel.declare_queue(name, passive=True)).declaration_result
    except NotFound:
        return None
    return Content(found.message_count or 0, found.consumer_count or 0)


async def cut_off(connection: Connection, queue: Queue) -> None:
    """See to it that nothing comes into `queue` any more, nor into any other of its divider."""
    async with connection.channel() as channel:
        with broker_errors(f"unbinding {queue.name}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                if queue.divider is not None:
                    await channel.exchange_delete(queue.divider.name)
                    return
                bound = await channel.get_queue(queue.name, ensure=False)
                for key in queue.keys:
                    await bound.unbind(queue.exchange, routing_key=key)


async def delete_queue(connection: Connection, name: str) -> None:
    """Delete a queue with all that is in it; it may be gone already."""
    async with connection.channel() as channel:
        with broker_errors(f"deleting {name}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await channel.queue_delete(name)


async def declare_queue(connection: Connection, queue: Queue) -> Queue:
    """Declare and bind `queue` now. Conflict if it exists with other arguments, Unavailable if the broker is away."""
    async with connection.channel() as channel:
        with broker_errors(f"declaring {queue.name}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await declare(channel, queue, connection.exchanges)
    return queue


async def declare_event_queue(
    connection: Connection, name: str, keys: Sequence[str], *, exchange: str = routing.EXCHANGE
) -> Queue:
    """Declare `event_queue(name, keys)` now and return it."""
    return await declare_queue(connection, event_queue(name, keys, exchange=exchange))


async def declare_host_command_queue(connection: Connection, server_id: int) -> Queue:
    """Declare the host's command queue now and return it."""
    return await declare_queue(connection, host_command_queue(server_id))


async def declare_log_stream(connection: Connection, session_id: int) -> Queue:
    """Declare the session's log stream now and return it. Doing it again changes nothing."""
    return await declare_queue(connection, log_stream(session_id))


async def delete_log_stream(connection: Connection, session_id: int) -> None:
    """Delete the session's log stream with all its lines; it may be gone already."""
    await delete_queue(connection, routing.log_stream(session_id))
