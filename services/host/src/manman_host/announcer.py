"""Tells the control plane what happens here, in order, and does not forget while the broker is away.

Every report gets the boot id and a rising number; one at a time is published and confirmed before the next. A report
is *known* when the broker has confirmed it: only then may what it tells about be removed, and the command that it
answers be acknowledged. So a report of an end that dies with this process is made again by its next life: from the
session's folder and containers (`recovery`), or from the command, which the broker delivers again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import structlog

from manman import clock, tracing
from manman.bus.connection import Backoff
from manman.bus.publisher import Unroutable
from manman.errors import Unavailable
from manman.messages import routing
from manman.messages.codec import encode
from manman.messages.status import HostReported, SessionReported

if TYPE_CHECKING:
    from manman.bus.publisher import Publisher
    from manman_host.identity import Identity

MAX_WAITING = 10_000
MESSAGE_LENGTH = 2000
GOODBYE_TIMEOUT_S = 3.0
OVER = frozenset({"stopped", "crashed"})

log = structlog.get_logger(__name__)


class Announcer:
    """The only publisher of status reports in a host. `run` it in a TaskGroup."""

    def __init__(self, publisher: Publisher, identity: Identity, tracer: tracing.Tracer = tracing.OFF) -> None:
        """Speak for `identity`; nothing is sent before `run`."""
        self._tracer = tracer
        self._publisher = publisher
        self._identity = identity
        self._waiting: deque[SessionReported] = deque()
        self._parents: dict[int, str] = {}
        """The traces that waiting reports are part of, by their numbers; the others begin one."""
        self._wake = asyncio.Event()
        self._confirmed = asyncio.Condition()
        self._seq = 0
        self._known_seq = 0
        self._known: dict[int, str] = {}

    def session(self, report: SessionReported) -> int:
        """Queue a report and return its number. When too many wait, the oldest that tells of no end is dropped."""
        self._seq += 1
        report = msgspec.structs.replace(
            report,
            event_id=uuid4(),
            occurred_at=report.occurred_at or clock.now(),
            host_boot_id=self._identity.boot_id,
            seq=self._seq,
            message=report.message[:MESSAGE_LENGTH],
        )
        if len(self._waiting) >= MAX_WAITING:
            self._drop_one()
        self._waiting.append(report)
        if (parent := tracing.current()) is not None:
            self._parents[self._seq] = parent
        self._wake.set()
        return self._seq

    def _drop_one(self) -> None:
        """Make room. Of what a session is meanwhile the heartbeat tells too; of how it ended nothing else does."""
        index = next((index for index, report in enumerate(self._waiting) if report.status not in OVER), 0)
        dropped = self._waiting[index]
        del self._waiting[index]
        self._parents.pop(dropped.seq, None)
        log.warning("report_dropped", session_id=dropped.session_id, status=dropped.status)

    async def confirmed(self, seq: int) -> None:
        """Return when the report with that number, and all before it, are known."""
        async with self._confirmed:
            await self._confirmed.wait_for(lambda: self._known_seq >= seq)

    def known_status(self, session_id: int) -> str:
        """Return the last status of a session that the broker has confirmed; empty if none."""
        return self._known.get(session_id, "")

    def forget(self, session_id: int) -> None:
        """Forget a session that is over."""
        self._known.pop(session_id, None)

    async def host(self, status: str) -> None:
        """Report this host as online or offline; raise `Unavailable` when the broker does not take it."""
        body = encode(HostReported(server_id=self._identity.server_id, status=status))
        await self._publisher.publish(
            routing.EXCHANGE,
            routing.status_host(self._identity.server_id),
            body,
            message_id=str(uuid4()),
            headers=routing.said_by(self._identity.server_id),
            timeout_s=GOODBYE_TIMEOUT_S,
        )

    async def run(self) -> None:
        """Publish what is queued, for ever; while the broker is away, or nobody's queue takes it, all of it is kept."""
        backoff = Backoff(longest_s=5.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                report = self._waiting[0]
                try:
                    await self._publish(report)
                except (Unavailable, Unroutable) as error:
                    log.warning("report_waits", waiting=len(self._waiting), reason=str(error))
                    await backoff.pause()
                    continue
                backoff.reset()
                await self._mark_known(report)

    async def _publish(self, report: SessionReported) -> None:
        event_id = report.event_id if isinstance(report.event_id, UUID) else uuid4()
        facts: tracing.Attributes = {"manman.session_id": report.session_id, "manman.status": report.status}
        with self._tracer.span("report", parent=self._parents.get(report.seq), kind="producer", attributes=facts):
            await self._publisher.publish(
                routing.EXCHANGE,
                routing.status_session(report.session_id),
                encode(report),
                message_id=str(event_id),
                mandatory=True,
                headers=routing.said_by(self._identity.server_id),
            )

    async def _mark_known(self, report: SessionReported) -> None:
        if self._waiting and self._waiting[0] is report:
            self._waiting.popleft()
            self._parents.pop(report.seq, None)
        if report.session_id in self._known or report.status not in OVER:  # else it would be kept for ever
            self._known[report.session_id] = report.status
        async with self._confirmed:
            self._known_seq = max(self._known_seq, report.seq)
            self._confirmed.notify_all()
        log.info("reported", session_id=report.session_id, status=report.status, reason=report.reason or None)
