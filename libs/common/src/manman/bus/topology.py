"""The queues and streams of the platform as values, and the one place that declares and binds them.

A *queue* here is a description: declaring it again is how every consumer starts, so a queue that somebody deleted
comes back. Names and arguments are spelled in `manman.messages.routing`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manman.bus.connection import OPERATION_TIMEOUT_S, broker_errors, declare_exchanges
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


@dataclass(frozen=True)
class Queue:
    """What a queue is: its name, its arguments byte for byte, and the keys of one exchange it is bound with."""

    name: str
    arguments: routing.Arguments = field(default_factory=dict)
    exchange: str = routing.EXCHANGE
    keys: Sequence[str] = ()
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    dead_letters: Queue | None = None


def event_queue(name: str, keys: Sequence[str], *, exchange: str = routing.EXCHANGE) -> Queue:
    """Describe a quorum queue that only we declare, with its dead-letter queue."""
    dead = Queue(
        name=routing.dead_letter_queue(name),
        arguments=routing.dead_letter_queue_arguments(max_length=DEAD_LETTER_MAX_LENGTH),
    )
    arguments = routing.event_queue_arguments(name, delivery_limit=EVENT_DELIVERY_LIMIT)
    return Queue(name=name, arguments=arguments, exchange=exchange, keys=tuple(keys), dead_letters=dead)


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
    async with connection.channel() as channel:
        with broker_errors(f"deleting the log stream of session {session_id}"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await channel.queue_delete(routing.log_stream(session_id))
