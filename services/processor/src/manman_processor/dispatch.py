"""Dispatch: what a message is, by its routing key, and one transaction for everything that has arrived.

A batch is folded in the order of the queue: the hosts and sessions that it names are locked first (`books`); then each
message changes their rows in memory; one commit writes rows and outbox together. A message that is refused (broken
JSON, unknown key, session or host, an impossible report) changes nothing and is answered with its error, which sends
it alone to the dead letters.

Of several heartbeats of one host in a batch only the last is worked on: it says everything the others said, or is given
the newest capabilities that they held. The numbers that came with the others are stored all the same.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from manman import clock, tracing
from manman.errors import Invalid, ManManError, Problem, TimedOut, Unavailable
from manman.messages.codec import decode
from manman.messages.health import Heartbeat
from manman.messages.status import HostReported, SessionReported
from manman_processor.books import open_books
from manman_processor.handlers.hosts import heartbeat_received, host_reported, samples_received
from manman_processor.handlers.sessions import session_reported
from manman_processor.traces import reports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from manman.bus.delivery import Delivery
    from manman.db.unit_of_work import Uow
    from manman.tracing import Span, Tracer
    from manman_processor.books import Books
    from manman_processor.relay import Relay

Message: TypeAlias = SessionReported | HostReported | Heartbeat

MESSAGE_TYPES: tuple[tuple[str, type[Message]], ...] = (
    ("status.session.", SessionReported),
    ("status.host.", HostReported),
    ("health.", Heartbeat),
)
"""Which body a key announces, by its first words."""

_TYPES = {"status.session": "session", "status.host": "host", "health.host": "heartbeat"}
"""What a report is called in metrics, by its key without the id."""

REFUSED = Counter("manman_reports_refused_total", "Reports of hosts that were refused, by reason.", ["reason"])
REPORTS = Counter(
    "manman_reports_total", "Reports of hosts, by what they are and what became of them.", ["type", "outcome"]
)
_reports = functools.cache(REPORTS.labels)
BATCH_SIZE = Histogram(
    "manman_report_batch_size",
    "Reports in one transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
LAG_SECONDS = Histogram(
    "manman_report_lag_seconds",
    "Age of the oldest report about a session in a batch, by the clock of its host, when the batch was committed.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)

log = structlog.get_logger(__name__)


class Dispatch:
    """Brings batches of reports into the database. Holds no state between them."""

    def __init__(
        self,
        uow: Uow,
        *,
        inventory_grace_s: float,
        now: Callable[[], datetime] = clock.now,
        relay: Relay | None = None,
        tracer: Tracer = tracing.OFF,
    ) -> None:
        """Work through `uow`, at the time that `now` tells, and go on with the traces of reports.

        A `relay` in the same process is given what it is to publish with the commit.
        """
        self._uow = uow
        self._inventory_grace_s = inventory_grace_s
        self._now = now
        self._relay = relay
        self._tracer = tracer

    async def handle(self, batch: list[Delivery]) -> Sequence[Exception | None]:
        """Apply a batch; return for each message None or the error that refuses it.

        Raises:
            Unavailable: the database is away; nothing was written.

        """
        results: Sequence[Exception | None]
        try:
            results = await self._together(batch)
        except (Unavailable, TimedOut):
            raise
        except ManManError as error:
            # the database itself refused something that one of them said
            if len(batch) > 1:
                half = len(batch) // 2
                return [*await self.handle(batch[:half]), *await self.handle(batch[half:])]
            results = [error]
        _count(batch, results)
        for refusal in filter(None, results):
            REFUSED.labels(type(refusal).__name__).inc()
            log.info("report_refused", reason=type(refusal).__name__, error=str(refusal))
        return results

    async def _together(self, batch: list[Delivery]) -> list[Exception | None]:
        messages: list[Message | ManManError] = [read(delivery) for delivery in batch]
        last_beat = _fold_heartbeats(messages)
        now = self._now()
        results: list[Exception | None] = []
        with reports(self._tracer, batch, messages) as spans:
            async with self._uow.batch() as transaction:
                books = await open_books(transaction, messages, now=now, grace_s=self._inventory_grace_s)
                for index, message in enumerate(messages):
                    if isinstance(message, Heartbeat):
                        samples_received(books, message, now=now)
                        if last_beat[message.server_id] != index:
                            results.append(None)
                            continue
                    results.append(self._result(books, message, now, spans.get(index)))
                books.close()
                with nullcontext() if self._relay is None else self._relay.riding() as look:
                    await transaction.commit(look)
        if books.changed:
            log.info("sessions_changed", **books.changed)
        BATCH_SIZE.observe(len(batch))
        told = [one.occurred_at for one in messages if isinstance(one, SessionReported) and one.occurred_at is not None]
        if told:
            LAG_SECONDS.observe(max(0.0, (self._now() - min(told)).total_seconds()))
        return results

    def _result(
        self, books: Books, message: Message | ManManError, now: datetime, span: Span | None
    ) -> ManManError | None:
        """Apply a message, within its span if it has one, which goes on until the commit; return what refuses it."""
        if isinstance(message, ManManError):
            return message
        try:
            if span is None:
                self._apply(books, message, now)
            else:
                with tracing.resume(span.traceparent):
                    self._apply(books, message, now)
        except ManManError as error:
            if span is not None:
                span.end(error)
            return error
        return None

    def _apply(self, books: Books, message: Message, now: datetime) -> None:
        """Change the books as the message says; what it refuses has changed nothing. Asks the database nothing."""
        match message:
            case SessionReported():
                session_reported(books, message, now=now)
            case HostReported():
                host_reported(books, message, now=now)
            case Heartbeat():
                heartbeat_received(books, message, now=now, grace_s=self._inventory_grace_s)


def _count(batch: Sequence[Delivery], results: Sequence[Exception | None]) -> None:
    counts: dict[tuple[str, bool], int] = defaultdict(int)
    for delivery, result in zip(batch, results, strict=True):
        counts[delivery.routing_key.rpartition(".")[0], result is None] += 1
    for (words, is_taken), count in counts.items():
        _reports(_TYPES.get(words, "unknown"), "taken" if is_taken else "refused").inc(count)


def read(delivery: Delivery) -> Message | ManManError:
    """Return the message, or why it cannot be read."""
    key = f"{delivery.routing_key}."
    for words, kind in MESSAGE_TYPES:
        if key.startswith(words):
            try:
                return decode(kind, delivery.body)
            except ManManError as error:
                return error
    known = ", ".join(f"{words}#" for words, _ in MESSAGE_TYPES)
    return Invalid([Problem("routing_key", f"use one of {known}, not {delivery.routing_key!r}")])


def _fold_heartbeats(messages: list[Message | ManManError]) -> dict[int, int]:
    """Return where each host's last heartbeat is, and give it the capabilities of an earlier one if it has none."""
    last: dict[int, int] = {}
    for index, beat in enumerate(messages):
        if isinstance(beat, Heartbeat):
            before = messages[last[beat.server_id]] if beat.server_id in last else None
            if beat.capabilities is None and isinstance(before, Heartbeat):
                messages[index] = msgspec.structs.replace(beat, capabilities=before.capabilities)
            last[beat.server_id] = index
    return last
