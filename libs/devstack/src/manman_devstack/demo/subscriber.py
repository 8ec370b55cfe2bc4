"""An outside program: it hears what the platform tells the world, through a queue of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import SecretStr

from manman.background import running
from manman.bus.connection import connect
from manman.bus.consumer import consume
from manman.bus.topology import Queue, declare_queue
from manman.errors import ManManError
from manman.messages import routing
from manman.settings import BusSettings
from manman_devstack.demo.failure import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from manman.bus.delivery import Delivery

_KEYS = ("manman.#",)
_PREFETCH = 50
_CONNECT_S = 10.0
_MOST_EVENTS = 10_000


@dataclasses.dataclass(frozen=True)
class Received:
    """One event: when it came (seconds of the monotonic clock), its routing key and its body."""

    at_s: float
    routing_key: str
    body: dict[str, Any]


class Subscriber:
    """Keeps every event in the order of arrival; `subscribe` makes one."""

    def __init__(self, queue: Queue) -> None:
        """Start with nothing received."""
        self.queue = queue
        self.received: list[Received] = []
        self._more = asyncio.Condition()

    def of_sessions(self, session_ids: list[str]) -> list[Received]:
        """Return what concerns these sessions, in order, a repeated delivery (same `event_id`) once."""
        wanted, seen, events = set(session_ids), set(), []
        for event in self.received:
            event_id = event.body.get("event_id")
            if str(event.body.get("session_id")) in wanted and (event_id is None or event_id not in seen):
                seen.add(event_id)
                events.append(event)
        return events

    async def wait_for(self, session_ids: list[str], expected: list[tuple[str, str]], *, timeout_s: float) -> None:
        """Wait until the events of these sessions are exactly `expected`: (session id, routing key), in order.

        Raises:
            DemoError: they differ, or are still too few after `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._more:
                while True:
                    events = self.of_sessions(session_ids)
                    got = [(str(event.body["session_id"]), event.routing_key) for event in events]
                    if got == expected:
                        return
                    if got != expected[: len(got)]:
                        raise DemoError("the external events should have come in another order", _listed(expected, got))
                    await self._more.wait()
        except TimeoutError:
            raise DemoError(f"waited {timeout_s:.0f} s for an external event", _listed(expected, got)) from None

    async def take(self, delivery: Delivery) -> None:
        """Remember one delivery."""
        event = Received(time.monotonic(), delivery.routing_key, msgspec.json.decode(delivery.body))
        async with self._more:
            if len(self.received) < _MOST_EVENTS:
                self.received.append(event)
            self._more.notify_all()


def _listed(expected: list[tuple[str, str]], got: list[tuple[str, str]]) -> list[str]:
    return [
        *(f"expected: session {session_id} {key}" for session_id, key in expected),
        *(f"received: session {session_id} {key}" for session_id, key in got),
    ]


@contextlib.asynccontextmanager
async def subscribe(rabbitmq_url: str) -> AsyncIterator[Subscriber]:
    """Bind a queue with `manman.#` and read it in the background of the block; the queue goes when the block ends."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    queue = Queue(
        name=name, exchange=routing.EXTERNAL_EXCHANGE, keys=_KEYS, durable=False, exclusive=True, auto_delete=True
    )
    settings = BusSettings(rabbitmq_url=SecretStr(rabbitmq_url))
    subscriber = Subscriber(queue)
    async with connect(settings, name, wait=False) as connection:
        try:
            await connection.wait_up(_CONNECT_S)
            await declare_queue(connection, queue)
        except ManManError as error:
            raise DemoError(f"the demo cannot subscribe at the broker: {error}") from error
        async with running(consume(connection, queue, subscriber.take, prefetch=_PREFETCH), name):
            yield subscriber
