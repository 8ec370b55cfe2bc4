"""The relay: publishes what committed transactions left in the outbox, in the order of its ids.

A row is marked after the broker confirmed it. A crash in between sends it twice, with one `message_id`. NOTIFY wakes
the relay; a poll is the truth. One process relays at a time (an advisory lock); the others stand by. When that process
commits reports itself, the relay reads along with the commit (`riding`): most events are published without another
question to the database.

A command that nobody can take, or that is too old to be sent, fails: its row is marked so, and a session that it
should have started ends as crashed. Before a start command the session's log stream is declared, so that not one
line is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge

from manman import clock, tracing
from manman.bus.connection import Backoff
from manman.bus.publisher import Outgoing, Unroutable
from manman.bus.topology import declare_log_stream
from manman.db.leadership import lead
from manman.db.outbox import CHANNEL, Ride
from manman.errors import ManManError, NotFound, Unavailable
from manman.messages import dead_letters
from manman.messages.routing import COMMAND_START_PATTERN, EXTERNAL_EXCHANGE, matches
from manman_processor.handlers.sessions import start_undeliverable
from manman_processor.traces import sending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from manman.bus.connection import Connection
    from manman.bus.publisher import Publisher
    from manman.db.leadership import Leadership
    from manman.db.outbox import Unpublished
    from manman.db.unit_of_work import Uow
    from manman.health import Component
    from manman.settings import DatabaseSettings
    from manman.tracing import Span, Tracer

LOCK = 0x6D616E6D_7265
"""The advisory lock of the process that relays."""

BATCH = 1000
DECLARED_AT_ONCE = 16
LAST_DRAIN_S = 5.0

RELAYED = Counter("manman_outbox_relayed_total", "Rows of the outbox that were settled.", ["outcome"])
DEPTH = Gauge("manman_outbox_depth", "Rows of the outbox that wait, as of the relay's last look.")

log = structlog.get_logger(__name__)


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of a batch: settled rows by id. Rows after the first one that could not be sent wait."""

    published: list[int] = dataclasses.field(default_factory=list)
    failed: dict[int, str] = dataclasses.field(default_factory=dict)
    held: str = ""


class Relay:
    """Publishes the outbox for as long as `run` runs."""

    def __init__(
        self,
        uow: Uow,
        connection: Connection,
        publisher: Publisher,
        *,
        database: DatabaseSettings,
        external_exchange: str,
        poll_s: float,
        component: Component,
        tracer: Tracer = tracing.OFF,
    ) -> None:
        """Read through `uow`, publish through `publisher`, and tell `component` how it goes."""
        self._uow = uow
        self._connection = connection
        self._publisher = publisher
        self._database = database
        self._external_exchange = external_exchange
        self._poll_s = poll_s
        self._component = component
        self._tracer = tracer
        self._news = asyncio.Event()
        self._leads = False
        self._is_busy = False
        self._brought: list[Unpublished] = []
        self.drained = asyncio.Event()
        """Set when the outbox was empty, or another process relays it."""

    async def run(self) -> None:
        """Relay for ever; when cancelled, send once more what has been committed."""
        backoff = Backoff()
        self._component.up()  # standing by is fine, too
        while True:
            try:
                async with (
                    lead(self._database, lock=LOCK, channel=CHANNEL, standby=self.drained.set) as leadership,
                    asyncio.TaskGroup() as group,
                ):
                    log.info("relaying")
                    group.create_task(self._listen(leadership), name="outbox-news")
                    await self._drain_at_news(backoff)
            except* Unavailable as lost:
                self._component.down(str(lost.exceptions[0]))
                await backoff.pause()

    async def _listen(self, leadership: Leadership) -> None:
        try:
            while True:
                await leadership.wait(self._poll_s)
                self._news.set()
        finally:
            self._leads = False

    async def _drain_at_news(self, backoff: Backoff) -> None:
        self._leads, self._brought = True, []
        self._news.set()
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if not self._is_busy:  # the end of a ride is news again
                    with self._busy():
                        await self.drain()
                    self._component.up()
                    backoff.reset()
        except asyncio.CancelledError:
            if self._leads:
                await self._last_drain()
            raise
        finally:
            self._leads = False

    @contextlib.contextmanager
    def riding(self) -> Iterator[Ride | None]:
        """Give what a commit in the block takes along, so that its messages are sent next; None if others relay.

        Nothing is read along while the relay is at work, or the same rows would be sent twice; it looks again then.
        """
        if not self._leads:
            yield None
            return
        ride = Ride(0 if self._is_busy or self._brought else BATCH)
        try:
            if ride.limit:
                with self._busy():
                    yield ride
                self._brought = ride.rows
            else:
                yield ride
        finally:
            self._news.set()

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    async def drain(self, now: Callable[[], datetime] = clock.now) -> int:
        """Send everything that waits; return how many rows were settled.

        Raises:
            Unavailable: the broker or the database is away; what was confirmed before is marked.

        """
        settled = 0
        rows, self._brought = self._brought, []
        while True:
            outcome = await self._send(rows, now()) if rows else Outcome()
            if outcome.failed:
                await self._fail([row for row in rows if row.id in outcome.failed], outcome.failed, now())
            rows = await self._uow.waiting.next_after(outcome.published, now=now(), limit=BATCH)
            RELAYED.labels("published").inc(len(outcome.published))
            RELAYED.labels("failed").inc(len(outcome.failed))
            settled += len(outcome.published) + len(outcome.failed)
            if outcome.held:
                raise Unavailable(outcome.held)
            DEPTH.set(len(rows) if len(rows) < BATCH else await self._uow.waiting.depth())
            if not rows:
                self.drained.set()
                return settled

    async def _send(self, rows: Sequence[Unpublished], now: datetime) -> Outcome:
        outcome = Outcome()
        sendable: list[Unpublished] = []
        not_prepared = await self._prepare(row for row in rows if row.expires_at is None or row.expires_at > now)
        for row in rows:
            if row.expires_at is not None and row.expires_at <= now:
                outcome.failed[row.id] = "it expired before it could be sent"
            elif row.id in not_prepared:
                outcome.held = not_prepared[row.id]
                break
            else:
                sendable.append(row)
        with sending(self._tracer, sendable) as spans:
            results = await self._publisher.publish_many(
                [self._outgoing(row, now, spans.get(row.id)) for row in sendable]
            )
        for row, result in zip(sendable, results, strict=True):
            if result is None:
                outcome.published.append(row.id)
            elif isinstance(result, Unroutable):
                outcome.failed[row.id] = "the host has no queue: it never connected, or its queue was removed"
            else:
                # what follows is sent again after this row, even if the broker has it: order per session is kept
                outcome.held = str(result)
                break
        return outcome

    async def _prepare(self, rows: Iterable[Unpublished]) -> dict[int, str]:
        """Declare the log streams of sessions that start, some at a time; return which could not be, and why."""
        failed: dict[int, str] = {}
        free = asyncio.Semaphore(DECLARED_AT_ONCE)

        async def declare(row: Unpublished, session_id: int) -> None:
            async with free:
                try:
                    await declare_log_stream(self._connection, session_id)
                except Unavailable as error:
                    failed[row.id] = str(error)
                except ManManError as error:
                    log.warning("log_stream_refused", session_id=session_id, error=str(error))

        async with asyncio.TaskGroup() as group:
            for row in rows:
                if row.session_id is not None and row.mandatory and matches(COMMAND_START_PATTERN, row.routing_key):
                    group.create_task(declare(row, row.session_id))
        return failed

    def _outgoing(self, row: Unpublished, now: datetime, span: Span | None) -> Outgoing:
        left_ms = None if row.expires_at is None else max(1, math.ceil((row.expires_at - now).total_seconds() * 1000))
        headers = {dead_letters.REPLAYED: row.message_id} if row.replay_of else None
        return Outgoing(
            exchange=self._external_exchange if row.exchange == EXTERNAL_EXCHANGE else row.exchange,
            routing_key=row.routing_key,
            body=row.body,
            message_id=row.replay_of or row.message_id,
            mandatory=row.mandatory,
            expiration_ms=left_ms,
            headers=headers if span is None else tracing.carried(headers, span.traceparent),
        )

    async def _fail(self, rows: Sequence[Unpublished], errors: Mapping[int, str], now: datetime) -> None:
        """Give messages up, and with them the sessions that they should have started."""
        async with self._uow() as tx:
            await tx.sessions.lock_all({row.session_id for row in rows if row.session_id is not None})
            await tx.outbox.mark_failed(errors, now=now)
            for row in rows:
                log.warning("command_undeliverable", routing_key=row.routing_key, error=errors[row.id])
                if row.session_id is not None and matches(COMMAND_START_PATTERN, row.routing_key):
                    try:
                        await start_undeliverable(tx, row.session_id, message=errors[row.id], now=now)
                    except NotFound:
                        log.info("session_deleted_meanwhile", session_id=row.session_id)
            await tx.commit()

    async def _last_drain(self) -> None:
        try:
            async with asyncio.timeout(LAST_DRAIN_S):
                await self.drain()
        except (Unavailable, TimeoutError) as error:
            log.warning("outbox_not_drained", reason=str(error))
