"""Prints what ManMan tells the world: a subscriber in one file, to copy and change.

It needs nothing of ManMan but the broker's address, and nothing of Python but aio-pika. Environment:

    RABBITMQ_URL         amqp://guest:guest@localhost:5672/
    EXTERNAL_EXCHANGE    external
    QUEUE_NAME           external-subscriber-events: one name for each program, shared by its replicas
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import aio_pika

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

KEYS = ("manman.host.*", "manman.session.*")
REMEMBERED_EVENTS = 10_000


def on_host(event: str, body: dict[str, Any]) -> None:
    """React to a host: online, offline or stale. A place for a pager."""
    print(f"host {body.get('server_id')} is {event}", flush=True)


def on_session(event: str, body: dict[str, Any]) -> None:
    """React to a session: running, stopped, crashed or lost. A place for a chat message."""
    details = [f"{name} {body[name]}" for name in ("exit_code", "reason", "final_status") if name in body]
    print(f"session {body.get('session_id')} is {event}", *details, sep=", ", flush=True)


def react(routing_key: str, body: dict[str, Any]) -> None:
    """Choose by the routing key; ignore what a later version may add."""
    noun, _, event = routing_key.removeprefix("manman.").partition(".")
    if noun == "host":
        on_host(event, body)
    elif noun == "session":
        on_session(event, body)


class Once:
    """Knows the last events: one that comes again has the same id."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str | None) -> bool:
        """Tell whether this id was not seen before, and remember it."""
        if event_id is None:
            return True
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        return True


async def handle(message: AbstractIncomingMessage, once: Once) -> None:
    """Act, then acknowledge. What cannot be read is reported and acknowledged: it will not get better."""
    try:
        body = json.loads(message.body)
        if once.is_new(body.get("event_id")):
            react(message.routing_key or "", body)
    except (ValueError, AttributeError) as error:
        print(f"unreadable event {message.routing_key}: {error}", flush=True)
    await message.ack()


async def main() -> None:
    """Bind the queue and read it for ever, also after the broker was away."""
    connection = await aio_pika.connect_robust(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@localhost:5672/"))
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=20)
        exchange = await channel.declare_exchange(
            os.environ.get("EXTERNAL_EXCHANGE", "external"), aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await channel.declare_queue(os.environ.get("QUEUE_NAME", "external-subscriber-events"), durable=True)
        for key in KEYS:
            await queue.bind(exchange, routing_key=key)
        print(f"listening on {queue.name}", flush=True)
        once = Once()
        async with queue.iterator() as messages:
            async for message in messages:
                await handle(message, once)


if __name__ == "__main__":
    asyncio.run(main())
