"""The relay: publishes what committed transactions left in the outbox, in the order of its ids.

A row is marked after the broker confirmed it. A crash in between sends it twice, with one `message_id`. NOTIFY wakes
the relay; a poll is the truth. One process relays at a time (an advisory lock); the others stand by. When that process
commits reports itself, the relay's look at the outbox travels with the commit (`riding`), and what it reads is sent
at once, whether the messages before are confirmed or not (`manman_processor.flight`). At other times the relay looks
by itself.

A command that nobody can take, or that is too old to be sent, fails: its row is marked so, and a session that it
should have started ends as crashed. Before a start command the session's log stream is declared, so that not one
line is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge

from manman import clock, tracing
from manman.bus.connection import Backoff
from manman.bus.publisher import Outgoing
from manman.bus.topology import declare_log_stream
from manman.db.leadership import lead
from manman.db.outbox import CHANNEL, Look
from manman.errors import ManManError, NotFound, Unavailable
from manman.messages import dead_letters
from manman.messages.routing import COMMAND_START_PATTERN, EXTERNAL_EXCHANGE, matches
from manman_processor.flight import Flight
from manman_processor.handlers.sessions import start_undeliverable
from manman_processor.traces import sending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from manman.bus.connection import Connection
    from manman.bus.publisher import Publisher, Sender
    from manman.db.leadership import Leadership
    from manman.db.outbox import Unpublished
    from manman.db.unit_of_work import Uow
    from manman.health import Component
    from manman.settings import DatabaseSettings
    from manman.tracing import Span, Tracer

LOCK = 0x6D616E6D_7265
"""The advisory lock of the process that relays."""

MARK_AFTER_S = 0.05
"""What is confirmed within so long is marked together."""

DECLARED_AT_ONCE = 16
LAST_DRAIN_S = 5.0

RELAYED = Counter("manman_outbox_relayed_total", "Rows of the outbox that were settled.", ["outcome"])
DEPTH = Gauge("manman_outbox_depth", "Rows of the outbox that wait or are under way, as of the relay's last look.")

log = structlog.get_logger(__name__)


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
        self._is_draining = False
        self._leads = False
        self._is_busy = False
        self._flight = Flight()
        self._sender: Sender | None = None
        self._brought: list[Unpublished] = []
        self._look_is_due = False
        self._confirms = asyncio.Event()
        self._marking = asyncio.Lock()
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
                    group.create_task(self._mark_at_times(), name="outbox-marks")
                    await self._relay_at_news(backoff)
            except* Unavailable as lost:
                self._component.down(str(lost.exceptions[0]))
                await backoff.pause()

    async def _listen(self, leadership: Leadership) -> None:
        try:
            while True:
                await leadership.wait(self._poll_s)
                self._look_again()
        finally:
            self._leads = False

    async def _relay_at_news(self, backoff: Backoff) -> None:
        self._take_off()
        self._leads = True
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._work()
                self._component.up()
                backoff.reset()
        except asyncio.CancelledError:
            if self._leads:
                await self._last_drain()
            raise
        finally:
            self._leads = False

    def _take_off(self) -> None:
        """Begin a flight: with all rows that are not published; what is confirmed but not marked is not lost."""
        self._flight, self._sender, self._brought = Flight(self._flight.confirmed), None, []
        self._look_again()

    @contextlib.contextmanager
    def riding(self) -> Iterator[Look | None]:
        """Give the look that a commit in the block takes along, and send what it read; None if others relay.

        While the relay is at work nothing is read along, or the same rows would be sent twice; it looks again then.
        """
        if not self._leads:
            yield None
        elif self._is_busy or self._brought:
            try:
                yield Look()
            finally:
                self._look_again()
        else:
            flight, look = self._flight, self._flight.look()
            self._is_busy = True
            try:
                with self._looking(look):
                    yield look
                if self._leads and flight is self._flight:
                    self._bring(look.rows or [])
            finally:
                self._is_busy = False
                self._go_on()

    @contextlib.contextmanager
    def _looking(self, look: Look) -> Iterator[None]:
        """Make a look in the block, or leave it."""
        was_due, self._look_is_due = self._look_is_due, False
        try:
            yield
        except BaseException:
            self._look_again()
            raise
        if look.rows is None:
            self._look_is_due |= was_due
        elif len(look.rows) >= look.limit:
            self._look_again()
        else:
            DEPTH.set(len(look.in_flight) + len(look.rows))

    def _look_again(self) -> None:
        self._look_is_due = True
        self._news.set()

    def _go_on(self) -> None:
        """Wake the relay's own task if it has something to do; nearly always it has not."""
        if self._is_draining or self._flight.held_because or self._is_something_due():
            self._news.set()
        else:
            self._note_if_drained()

    def _is_something_due(self) -> bool:
        return bool(self._look_is_due or self._brought or self._flight.failed)

    async def drain(self) -> int:
        """Send everything that waits; return how many rows were settled.

        Raises:
            Unavailable: the broker or the database is away; what was confirmed before is marked.

        """
        if not self._leads:
            self._take_off()
        flight = self._flight
        before = flight.settled_count
        self._look_is_due = self._is_draining = True
        try:
            while self._is_busy or self._is_something_due() or not flight.is_empty:
                await self._work()
                if self._is_busy or not flight.is_empty:
                    await self._news.wait()
                    self._news.clear()
        finally:
            self._is_draining = False
        await self._mark()
        return flight.settled_count - before

    async def _work(self) -> None:
        """Do what is due. Nothing while a commit is looking: its end is news."""
        if self._is_busy:
            return
        flight = self._flight
        self._is_busy = True
        try:
            await self._send(self._brought)
            self._brought = []
            if flight.failed:
                await self._fail(flight)
                self._look_is_due = True  # for the events of that
            while self._look_is_due and flight.has_room:
                look = flight.look()
                with self._looking(look):
                    rows = await self._uow.waiting.look(look)
                if self._look_is_due:
                    DEPTH.set(await self._uow.waiting.depth())
                await self._send(rows)
        finally:
            self._is_busy = False
        if flight.is_empty and flight.held_because:
            await self._mark()
            raise Unavailable(flight.held_because)
        self._note_if_drained()

    def _note_if_drained(self) -> None:
        if self._flight.is_empty and not self._is_something_due():
            self.drained.set()
            DEPTH.set(0)

    async def _mark_at_times(self) -> None:
        while True:
            await self._confirms.wait()
            await asyncio.sleep(MARK_AFTER_S)
            self._confirms.clear()
            await self._mark()

    async def _mark(self) -> None:
        """Record what was confirmed; one at a time, so that events get their places in the log in order."""
        async with self._marking:
            flight = self._flight
            rows = [*flight.confirmed]
            if rows:
                await self._uow.waiting.mark(rows, now=clock.now())
                flight.marked(len(rows))
                RELAYED.labels("published").inc(len(rows))

    def _bring(self, rows: list[Unpublished]) -> None:
        """Send events at once, and leave what needs more to the relay's own task."""
        if rows and (self._sender is None or any(row.mandatory for row in rows)):
            self._brought = rows
        elif rows and self._sender is not None:
            self._depart(self._sender, rows, clock.now())

    async def _send(self, rows: Sequence[Unpublished]) -> None:
        """Send what can be sent, up to the first row that could not be prepared."""
        if not rows:
            return
        flight, now = self._flight, clock.now()
        sender = self._sender = self._sender or await self._publisher.open_sender()
        expired = [row for row in rows if row.expires_at is not None and row.expires_at <= now]
        for row in expired:
            flight.give_up(row, "it expired before it could be sent")
        sendable = [row for row in rows if row.id not in flight.failed]
        not_prepared = await self._prepare(sendable)
        for index, row in enumerate(sendable):
            if row.id in not_prepared:
                flight.held_because = not_prepared[row.id]
                sendable = sendable[:index]
                break
        self._depart(sender, sendable, now)

    def _depart(self, sender: Sender, rows: Sequence[Unpublished], now: datetime) -> None:
        flight, spans = self._flight, sending(self._tracer, rows)

        def settled(_: object) -> None:
            for span in spans.values():
                span.end()
            flight.settle()
            self._confirms.set()
            self._go_on()

        results = sender.send([self._outgoing(row, now, spans.get(row.id)) for row in rows])
        flight.sent(rows, results)
        results.add_done_callback(settled)

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

    async def _fail(self, flight: Flight) -> None:
        """Give messages up, and with them the sessions that they should have started."""
        rows = [row for row, _ in flight.failed.values()]
        errors = {row_id: error for row_id, (_, error) in flight.failed.items()}
        now = clock.now()
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
        for row in rows:
            del flight.failed[row.id]
        RELAYED.labels("failed").inc(len(rows))

    async def _last_drain(self) -> None:
        try:
            async with asyncio.timeout(LAST_DRAIN_S):
                await self.drain()
        except (Unavailable, TimeoutError) as error:
            log.warning("outbox_not_drained", reason=str(error))
