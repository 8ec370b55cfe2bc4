"""What the processor is made of: event consumer, outbox relay, sweeps, dead letters; on one broker and database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from manman import service
from manman.bus.connection import Backoff, connect
from manman.bus.publisher import Publisher
from manman.bus.topology import event_queue
from manman.db.engine import connected, ping
from manman.db.leadership import lead
from manman.db.unit_of_work import UnitOfWork
from manman.domain.restarts import Limits
from manman.errors import Unavailable
from manman.health import Health
from manman.messages.routing import PROCESSOR_EVENT_KEYS
from manman.periodic import run_periodically
from manman.tracing import traced
from manman_processor import census
from manman_processor.dead_letters import Collector
from manman_processor.dispatch import Dispatch
from manman_processor.hearing import Hearing
from manman_processor.relay import Relay
from manman_processor.reports import take_reports
from manman_processor.sweeps import (
    audit_log,
    dead_letters,
    idempotency_keys,
    log_streams,
    lost_sessions,
    overdue_sessions,
    restarts,
    samples,
    settled_messages,
    stale_hosts,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from manman.bus.connection import Connection
    from manman.db.unit_of_work import Uow
    from manman.health import Component
    from manman.tracing import Tracer
    from manman_processor.settings import Settings

DRAIN_FIRST_S = 10.0
"""So long the consumer waits for the relay to send what an earlier process left behind."""

LONGEST_PAUSE_S = 2.0
"""So long at most it takes to notice that the broker is back: processors are few, hosts wait for them."""

SWEEPS_LOCK = 0x6D616E6D_7377
"""The advisory lock of the process that sweeps."""

LEADERSHIP_CHECK_S = 1.0
"""How often the process that sweeps asks whether it still holds the lock."""

log = structlog.get_logger(__name__)


async def main(settings: Settings) -> None:
    """Run the processor until cancelled."""
    health = Health()
    async with (
        health.serve(settings.health_check_host, settings.health_check_port),
        traced(settings, "processor") as tracer,
        connected(settings) as engine,
        connect(
            settings, "processor", component=health.component("broker"), longest_pause_s=LONGEST_PAUSE_S
        ) as connection,
        Publisher(connection) as publisher,
        asyncio.TaskGroup() as group,
    ):
        health.add("database", lambda: ping(engine))
        uow = UnitOfWork(engine)
        hearing = Hearing()
        relay = None
        if "relay" in settings.components:
            relay = Relay(
                uow,
                connection,
                publisher,
                database=settings,
                external_exchange=settings.external_exchange,
                poll_s=settings.outbox_poll_seconds,
                component=health.component("relay"),
                tracer=tracer,
            )
            group.create_task(relay.run(), name="relay")
        interval_s = settings.census_interval_seconds
        group.create_task(run_periodically("census", lambda now: census.take(uow, now), interval_s), name="census")
        if "events" in settings.components:
            health.add("events", hearing.check)
            group.create_task(_consume(settings, uow, connection, hearing, relay, tracer=tracer), name="events")
        if "dead_letters" in settings.components:
            collector = Collector(
                uow,
                connection,
                reports=event_queue(settings.queue_name, PROCESSOR_EVENT_KEYS),
                look_s=settings.dead_letter_interval_seconds,
                component=health.component("dead_letters"),
            )
            group.create_task(collector.run(), name="dead-letters")
        if "sweeps" in settings.components:
            component = health.component("sweeps")
            group.create_task(_sweep(settings, uow, connection, hearing, component), name="sweeps")
        health.complete()
        service.settle()


async def _consume(
    settings: Settings, uow: Uow, connection: Connection, hearing: Hearing, relay: Relay | None, *, tracer: Tracer
) -> None:
    if relay is not None:
        try:
            async with asyncio.timeout(DRAIN_FIRST_S):
                await relay.drained.wait()
        except TimeoutError:
            log.warning("consuming_before_the_outbox_is_empty")
    dispatch = Dispatch(uow, inventory_grace_s=settings.inventory_grace_seconds, relay=relay, tracer=tracer)
    await take_reports(settings, connection, dispatch, hearing)


async def _sweep(settings: Settings, uow: Uow, connection: Connection, hearing: Hearing, component: Component) -> None:
    """Run the sweeps for ever, whenever no other process does; standing by is fine, too."""
    backoff = Backoff()
    component.up()
    while True:
        try:
            async with lead(settings, lock=SWEEPS_LOCK) as leadership, asyncio.TaskGroup() as group:
                log.info("sweeping")
                component.up()
                backoff.reset()
                for sweep in sweeps(settings, uow, connection, hearing):
                    group.create_task(sweep, name="sweep")
                while True:
                    await leadership.wait(LEADERSHIP_CHECK_S)
        except* Unavailable as lost:
            component.down(str(lost.exceptions[0]))
        await backoff.pause()


def sweeps(
    settings: Settings, uow: Uow, connection: Connection, hearing: Hearing
) -> list[Coroutine[object, object, None]]:
    """Return the sweeps, ready to run. Those that judge silence run only while, and after, we listened long enough."""
    stale_after = timedelta(seconds=settings.stale_host_threshold_seconds)
    heard_enough = 2 * stale_after  # hosts take a pause of theirs to come back to a broker that was away
    offline_limit = timedelta(seconds=settings.lost_after_host_offline_seconds)
    limits = overdue_sessions.limits(settings.stale_session_threshold_seconds)
    restart_limits = Limits(
        max_attempts=settings.restart_max_attempts,
        window=timedelta(seconds=settings.restart_window_seconds),
        backoff=timedelta(seconds=settings.restart_backoff_seconds),
        longest_backoff=timedelta(seconds=settings.restart_backoff_longest_seconds),
    )
    outbox_keep = timedelta(seconds=settings.outbox_keep_seconds)
    audit_keep = timedelta(days=settings.audit_keep_days)
    samples_keep_raw = timedelta(hours=settings.samples_keep_raw_hours)
    samples_keep = timedelta(days=settings.samples_keep_days)
    key_keep = timedelta(seconds=settings.idempotency_keep_seconds)
    stream_keep = timedelta(seconds=settings.log_stream_keep_seconds)

    def listening(sweep: Callable[[datetime], Awaitable[int]], span: timedelta) -> Callable[[datetime], Awaitable[int]]:
        async def guarded(now: datetime) -> int:
            return await sweep(now) if hearing.has_lasted(span, now) else 0

        return guarded

    return [
        run_periodically(
            "stale_hosts",
            listening(lambda now: stale_hosts.sweep(uow, now, stale_after), heard_enough),
            settings.stale_host_check_interval_seconds,
        ),
        run_periodically(
            "lost_sessions",
            listening(lambda now: lost_sessions.sweep(uow, now, offline_limit), heard_enough),
            settings.session_check_interval_seconds,
        ),
        run_periodically(
            "overdue_sessions",
            listening(lambda now: overdue_sessions.sweep(uow, now, limits), max(heard_enough, limits.starting)),
            settings.session_check_interval_seconds,
        ),
        run_periodically(
            "restarts",
            lambda now: restarts.sweep(uow, now, restart_limits),
            settings.restart_check_interval_seconds,
        ),
        run_periodically(
            "log_streams",
            lambda now: log_streams.sweep(uow, connection, now, stream_keep),
            settings.housekeeping_interval_seconds,
        ),
        run_periodically(
            "settled_messages",
            lambda now: settled_messages.sweep(uow, now, outbox_keep, settings.event_log_max),
            settings.housekeeping_interval_seconds,
        ),
        run_periodically(
            "audit_log",
            lambda now: audit_log.sweep(uow, now, audit_keep),
            settings.housekeeping_interval_seconds,
        ),
        run_periodically(
            "idempotency_keys",
            lambda now: idempotency_keys.sweep(uow, now, key_keep),
            settings.housekeeping_interval_seconds,
        ),
        run_periodically(
            "samples",
            lambda now: samples.sweep(uow, now, samples_keep_raw, samples_keep),
            settings.housekeeping_interval_seconds,
        ),
        run_periodically(
            "dead_letters",
            lambda _: dead_letters.sweep(uow, settings.dead_letters_keep),
            settings.housekeeping_interval_seconds,
        ),
    ]
