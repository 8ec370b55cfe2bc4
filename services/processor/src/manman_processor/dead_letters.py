"""Takes dead letters from the broker into the database, where people can look at them, send them again, or purge them.

A letter is acknowledged after the transaction that stored it; until then, and while the database is away, it stays in
its dead-letter queue. A crash in between delivers it again, and the second copy is known by its message id, content
and replay. Read are the dead letters of the reports and of every host in the database, at most so many hosts at a
time: of more, each look takes the next ones. Reports may die by the thousand and are read in batches, on a lane of
their own; the letters of a host are few and cost a channel.

Not here: what makes a letter of a message (`manman.bus.consumer`), and what is done with it (the API).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter, Gauge

from manman import clock
from manman.bus.consumer import consume, consume_batches
from manman.bus.delivery import Delivery
from manman.bus.topology import host_command_queue
from manman.errors import Unavailable
from manman.messages import dead_letters
from manman.messages.routing import dead_letter_queue
from manman.periodic import run_periodically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from manman.bus.connection import Connection
    from manman.bus.delivery import Delivery
    from manman.bus.topology import Queue
    from manman.db.unit_of_work import Uow
    from manman.health import Component

MOST_HOSTS = 200
"""Hosts whose dead letters are read at the same time; each costs a channel."""

PREFETCH = 50
BATCH = 20
KEPT_BODY_BYTES = 1024 * 1024
"""The longest body that is kept whole; only such can be sent again."""

KEPT_HEADERS = 30
NAME_LENGTH = 255
TEXT_LENGTH = 2000

STORED = Counter("manman_dead_letters_stored_total", "Dead letters taken into the database.", ["queue"])
WAITING = Gauge("manman_dead_letters", "Dead letters that nobody sent again yet, as of the last look.", ["queue"])

log = structlog.get_logger(__name__)


class Collector:
    """Reads dead-letter queues for as long as `run` runs."""

    def __init__(
        self,
        uow: Uow,
        connection: Connection,
        *,
        reports: Queue,
        look_s: float,
        component: Component,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Read the dead letters of `reports` and of the hosts, for which it looks every `look_s` seconds."""
        self._uow = uow
        self._connection = connection
        self._reports = reports
        self._look_s = look_s
        self._component = component
        self._now = now
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._looks = itertools.count()

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_reports(), name="dead-letters")
            await run_periodically("dead_letter_queues", lambda _: self._look(group), self._look_s)

    async def _look(self, group: asyncio.TaskGroup) -> int:
        """Read the queues of the hosts whose turn it is; return how many readers were started."""
        async with self._uow() as tx:
            wanted = set(turn(await tx.servers.ids(), next(self._looks), MOST_HOSTS))
            waiting = await tx.dead_letters.waiting()
        WAITING.clear()
        for queue, count in waiting.items():
            WAITING.labels(queue).set(count)
        for server_id in self._readers.keys() - wanted:
            self._readers.pop(server_id).cancel()
        fresh = wanted - self._readers.keys()
        for server_id in sorted(fresh):
            reader = self._read_host(server_id)
            self._readers[server_id] = group.create_task(reader, name=f"dead-letters-{server_id}")
        return len(fresh)

    async def _read_reports(self) -> None:
        queue = self._reports

        async def store(batch: list[Delivery]) -> Sequence[None]:
            await self._store(queue.name, batch)
            return [None] * len(batch)

        await consume_batches(
            self._connection, _letters_of(queue), store, prefetch=PREFETCH, max_batch=BATCH, component=self._component
        )

    async def _read_host(self, server_id: int) -> None:
        queue = host_command_queue(server_id)
        await consume(
            self._connection, _letters_of(queue), lambda letter: self._store(queue.name, [letter]), prefetch=BATCH
        )

    async def _store(self, queue: str, letters: Sequence[Delivery]) -> None:
        try:
            async with self._uow() as tx:
                stored = await tx.dead_letters.store([read(queue, letter, self._now()) for letter in letters])
                await tx.commit()
        except Exception as error:  # whatever it is, a letter that is not stored stays where it is
            log.exception("dead_letters_not_stored", queue=queue, letters=len(letters))
            raise Unavailable(f"the dead letters of {queue} cannot be stored") from error
        STORED.labels(queue).inc(stored)


def _letters_of(queue: Queue) -> Queue:
    if queue.dead_letters is None:
        raise ValueError(f"{queue.name} has no dead letters")
    return queue.dead_letters


def turn(ids: Sequence[int], number: int, most: int) -> Sequence[int]:
    """Return the ids whose turn it is at look `number`: all of them, or `most` after those of the look before."""
    if len(ids) <= most:
        return ids
    start = number * most % len(ids)
    return [*ids[start:], *ids[:start]][:most]


def read(queue: str, delivery: Delivery, now: datetime) -> dict[str, Any]:
    """Return the columns of the letter that came from the dead-letter queue of `queue`.

    Our own consumers say in headers what happened, the broker says it in `x-death` (rejected, expired, delivery_limit).
    """
    headers = delivery.headers
    death = _broker_death(headers, dead_letter_queue(queue))
    keys = death.get("routing-keys")
    key = headers.get(dead_letters.ROUTING_KEY) or (keys[0] if isinstance(keys, list) and keys else None)
    dead_at = _moment(headers.get(dead_letters.DEAD_AT)) or _moment(death.get("time"))
    digest = hashlib.sha256(delivery.body).digest()
    routing_key = _text(key or delivery.routing_key, NAME_LENGTH)
    return {
        "queue": queue,
        "routing_key": routing_key,
        "message_id": _text(delivery.message_id or _made_id(routing_key, dead_at, digest), NAME_LENGTH),
        "digest": digest,
        "replay": _text(headers.get(dead_letters.REPLAYED, ""), NAME_LENGTH),
        "reason": _text(headers.get(dead_letters.REASON) or death.get("reason") or "unknown", NAME_LENGTH),
        "error": _text(headers.get(dead_letters.ERROR, ""), TEXT_LENGTH),
        "headers": {
            _text(name, NAME_LENGTH): _text(value, TEXT_LENGTH)
            for name, value in itertools.islice(headers.items(), KEPT_HEADERS)
        },
        "body": delivery.body[:KEPT_BODY_BYTES],
        "size_bytes": len(delivery.body),
        "is_cut_off": len(delivery.body) > KEPT_BODY_BYTES,
        "dead_at": dead_at or now,
    }


def _broker_death(headers: Mapping[str, object], dead_letter_queue_name: str) -> Mapping[str, Any]:
    """Return the broker's latest record of a death elsewhere than in the dead-letter queue itself."""
    deaths = headers.get(dead_letters.X_DEATH)
    tables = [one for one in deaths if isinstance(one, dict)] if isinstance(deaths, list) else []
    return next((one for one in tables if one.get("queue") != dead_letter_queue_name), {})


def _made_id(routing_key: str, dead_at: datetime | None, digest: bytes) -> str:
    """Return an id for a message that came without one: the same whenever this death is told."""
    return hashlib.sha256(f"{routing_key} {dead_at}".encode() + digest).hexdigest()


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _text(value: object, length: int) -> str:
    """Return a value of a header as text that the database can hold."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:length].replace("\x00", "\ufffd").encode(errors="replace").decode()
