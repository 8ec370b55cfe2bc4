"""The reports of hosts, from their queues to `Dispatch`: one queue, or several among which the hosts are divided.

Of each queue one process at a time gets the messages, in order, and the others stand by; everything a host says is in
one queue, until the broker starts again: then it may be another one (ADR 0028). Which of the processes gets a queue is
the broker's choice.

The number of queues is a setting. Queues of another number are emptied before the first report of the new ones is
taken, so that no host's reports overtake each other, and then deleted. While somebody still consumes them, processes
with the new number wait, not ready: there must be only one number.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import structlog

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Backoff, connect
from manman.bus.consumer import consume_batches
from manman.db.leadership import lead
from manman.errors import ManManError, Unavailable
from manman.messages.routing import MAX_PARTITIONS, PROCESSOR_EVENT_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman.bus.connection import Connection
    from manman.bus.delivery import Delivery
    from manman.bus.topology import Queue
    from manman_processor.dispatch import Dispatch
    from manman_processor.hearing import Ear, Hearing
    from manman_processor.settings import Settings

REPLACING_LOCK = 0x6D616E6D_7061
"""The advisory lock of the process that empties and deletes queues of another number."""

LOOK_S = 0.2
QUIET_S = 1.0
"""A queue is empty when nothing has been in it, nor in work, for so long: messages are counted a moment late."""

log = structlog.get_logger(__name__)


async def take_reports(settings: Settings, connection: Connection, dispatch: Dispatch, hearing: Hearing) -> None:
    """Give the reports of all hosts to `dispatch`, for ever, and tell `hearing` how it goes."""
    queues = topology.event_partitions(settings.queue_name, PROCESSOR_EVENT_KEYS, settings.event_partitions)
    ears = [hearing.ear(queue.name) for queue in queues]
    await _succeed(settings, dispatch, queues[0], ears[0])
    async with asyncio.TaskGroup() as group:
        for queue, ear in zip(queues, ears, strict=True):
            taker = _Taker(dispatch, ear)
            group.create_task(
                consume_batches(
                    connection,
                    queue,
                    taker.take,
                    prefetch=settings.event_prefetch,
                    max_batch=settings.event_batch_max,
                    component=ear,
                ),
                name=queue.name,
            )


class _Taker:
    """Takes the reports of one queue, and knows whether it is at work."""

    def __init__(self, dispatch: Dispatch, ear: Ear | None) -> None:
        self._dispatch = dispatch
        self._ear = ear
        self._loop = asyncio.get_running_loop()
        self._idle_since: float | None = self._loop.time()

    async def take(self, batch: list[Delivery]) -> Sequence[Exception | None]:
        self._idle_since = None
        try:
            results = await self._dispatch.handle(batch)
        except Unavailable as error:
            if self._ear is not None:
                self._ear.down(str(error))
            raise
        self._idle_since = self._loop.time()
        if self._ear is not None:
            self._ear.up()
        return results

    def has_been_idle(self, span_s: float) -> bool:
        """Tell whether the last batch was finished at least `span_s` ago."""
        return self._idle_since is not None and self._loop.time() - self._idle_since >= span_s


async def _succeed(settings: Settings, dispatch: Dispatch, queue: Queue, ear: Ear) -> None:
    """Declare our queues, and empty and delete those of every other number; return when there are none."""
    backoff = Backoff()
    while True:
        try:
            # on a connection of its own: a broker without the plugin answers by closing the whole of it
            async with connect(settings, "processor-partitions") as connection:
                if await _others(settings, connection):
                    async with lead(settings, lock=REPLACING_LOCK):
                        await _replace(await _others(settings, connection), settings, connection, dispatch, queue)
                await topology.declare_queue(connection, queue)
        except ManManError as error:
            ear.down(str(error))
            await backoff.pause()
        else:
            return


async def _others(settings: Settings, connection: Connection) -> list[list[Queue]]:
    """Return the queues that are there for other numbers of partitions, by number."""
    numbers = (count for count in range(1, MAX_PARTITIONS + 1) if count != settings.event_partitions)
    divided = [topology.event_partitions(settings.queue_name, PROCESSOR_EVENT_KEYS, count) for count in numbers]
    return [queues for queues in divided if await topology.look_at(connection, queues[0].name) is not None]


async def _replace(
    others: Sequence[list[Queue]], settings: Settings, connection: Connection, dispatch: Dispatch, queue: Queue
) -> None:
    for other in [one for queues in others for one in queues]:
        content = await topology.look_at(connection, other.name)
        if content is not None and content.consumers:
            raise Unavailable(
                f"another processor consumes {other.name}: EVENT_PARTITIONS must be the same for all of them"
            )
    await topology.declare_queue(connection, queue)  # before the others are cut off: every report goes somewhere
    for queues in others:
        await topology.cut_off(connection, queues[0])
        for other in reversed(queues):  # the first one goes last: by it they are found
            await _empty(settings, connection, dispatch, other)
            await topology.delete_queue(connection, other.name)
        log.info("queues_replaced", queues=[other.name for other in queues])


async def _empty(settings: Settings, connection: Connection, dispatch: Dispatch, queue: Queue) -> None:
    """Take what is left in a queue that nothing comes into any more; the caller holds the lock."""
    left = dataclasses.replace(queue, keys=(), divider=None)
    taker = _Taker(dispatch, None)
    taking = consume_batches(
        connection, left, taker.take, prefetch=settings.event_prefetch, max_batch=settings.event_batch_max
    )
    quiet_s = 0.0
    async with running(taking, f"empty-{queue.name}"):
        while quiet_s < QUIET_S or not taker.has_been_idle(QUIET_S):
            await asyncio.sleep(LOOK_S)
            content = await topology.look_at(connection, queue.name)
            quiet_s = quiet_s + LOOK_S if content is not None and not content.messages else 0.0
