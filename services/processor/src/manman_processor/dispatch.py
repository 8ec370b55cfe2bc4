"""Dispatch: what a message is, by its routing key, and one transaction for everything that has arrived.

A batch is folded in the order of the queue: the sessions and hosts that it names are locked first, in id order; then
each message changes the rows in memory; one commit writes rows and outbox together. A message that is refused (broken
JSON, unknown key, session or host, an impossible report) changes nothing and is answered with its error, which sends
it alone to the dead letters.

Of several heartbeats of one host in a batch only the last is worked on: it says everything the others said, or is given
the newest capabilities that they held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import structlog
from prometheus_client import Counter

from manman import clock
from manman.errors import Invalid, ManManError, Problem, TimedOut, Unavailable
from manman.messages.codec import decode
from manman.messages.health import Heartbeat
from manman.messages.routing import matches
from manman.messages.status import HostReported, SessionReported
from manman_processor.handlers.hosts import heartbeat_received, host_reported
from manman_processor.handlers.sessions import session_reported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from manman.bus.consumer import Delivery
    from manman.db.unit_of_work import Transaction, Uow

Message: TypeAlias = SessionReported | HostReported | Heartbeat

MESSAGE_TYPES: tuple[tuple[str, type[Message]], ...] = (
    ("status.session.#", SessionReported),
    ("status.host.#", HostReported),
    ("health.#", Heartbeat),
)
"""Which body a key announces; the first pattern that matches counts."""

REFUSED = Counter("manman_reports_refused_total", "Reports of hosts that were refused, by reason.", ["reason"])
BATCHES = Counter("manman_report_batches_total", "Transactions made for reports of hosts.")

log = structlog.get_logger(__name__)


class Dispatch:
    """Brings batches of reports into the database. Holds no state between them."""

    def __init__(self, uow: Uow, *, inventory_grace_s: float, now: Callable[[], datetime] = clock.now) -> None:
        """Work through `uow`, at the time that `now` tells."""
        self._uow = uow
        self._inventory_grace_s = inventory_grace_s
        self._now = now

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
                return [(await self.handle([delivery]))[0] for delivery in batch]
            results = [error]
        for refusal in filter(None, results):
            REFUSED.labels(type(refusal).__name__).inc()
            log.info("report_refused", reason=type(refusal).__name__, error=str(refusal))
        return results

    async def _together(self, batch: list[Delivery]) -> list[Exception | None]:
        messages: list[Message | ManManError] = [read(delivery) for delivery in batch]
        results: list[Exception | None] = [item if isinstance(item, ManManError) else None for item in messages]
        last_beat = _fold_heartbeats(messages)
        async with self._uow() as tx:
            await self._lock(tx, messages)
            for index, message in enumerate(messages):
                if isinstance(message, ManManError):
                    continue
                if isinstance(message, Heartbeat) and last_beat[message.server_id] != index:
                    continue
                try:
                    await self._apply(tx, message)
                except (Unavailable, TimedOut):
                    raise
                except ManManError as error:
                    if error.__cause__ is not None:  # the database refused it, and with it this transaction
                        raise
                    results[index] = error
            await tx.commit()
        BATCHES.inc()
        return results

    async def _lock(self, tx: Transaction, messages: Sequence[Message | ManManError]) -> None:
        servers = {item.server_id for item in messages if isinstance(item, HostReported | Heartbeat)}
        sessions = {item.session_id for item in messages if isinstance(item, SessionReported)}
        if servers:
            await tx.servers.lock_all(servers)
        if sessions:
            rows = await tx.sessions.lock_all(sessions)
            await tx.deployments.origins({row.sgc_id for row in rows.values()})

    async def _apply(self, tx: Transaction, message: Message) -> None:
        now = self._now()
        match message:
            case SessionReported():
                await session_reported(tx, message, now=now)
            case HostReported():
                await host_reported(tx, message, now=now)
            case Heartbeat():
                await heartbeat_received(tx, message, now=now, grace_s=self._inventory_grace_s)


def read(delivery: Delivery) -> Message | ManManError:
    """Return the message, or why it cannot be read."""
    for pattern, kind in MESSAGE_TYPES:
        if matches(pattern, delivery.routing_key):
            try:
                return decode(kind, delivery.body)
            except ManManError as error:
                return error
    known = ", ".join(pattern for pattern, _ in MESSAGE_TYPES)
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
