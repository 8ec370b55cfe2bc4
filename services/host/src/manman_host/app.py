"""Composition root of the host: who we are, the engine, the bus, the sessions. Read this to know what runs.

Order of a start: probes, engine, registration, broker, recovery, then commands. Order of an end: no more commands,
runners let go of their sessions, the good-bye. Games keep running.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import structlog

from manman import logs
from manman.bus import topology
from manman.bus.connection import Backoff, connect
from manman.bus.consumer import consume
from manman.bus.publisher import Publisher
from manman.errors import ManManError, Unavailable
from manman.health import Health
from manman.periodic import run_periodically
from manman.rpc.client import channel_to_api
from manman.tracing import OFF, traced
from manman_host import capabilities, heartbeat
from manman_host.announcer import Announcer
from manman_host.container_spec import base_labels
from manman_host.docker_engine import DockerEngine
from manman_host.identity import register
from manman_host.orphans import asks_api, sweep_orphans
from manman_host.recovery import recover
from manman_host.sampling import Sampler
from manman_host.session_folder import DataFolder
from manman_host.session_start import Parts
from manman_host.supervisor import Supervisor
from manman_host.usage_metrics import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from manman.messages.health import Capabilities
    from manman.tracing import Tracer
    from manman_host.identity import Identity
    from manman_host.settings import Settings

Measure: TypeAlias = "Callable[[], Awaitable[Capabilities | None]]"
COMMANDS_AT_ONCE = 256
"""A start holds its place until it is accepted: enough that a stop gets past very many of them."""
ENGINE_CALLS_AT_ONCE = 48
"""Every call to the engine holds a thread, a pull for minutes: many more than MAX_PARALLEL_STARTS."""

log = structlog.get_logger(__name__)


async def main(settings: Settings) -> None:
    """Run the host until told to stop."""
    threads = ThreadPoolExecutor(ENGINE_CALLS_AT_ONCE, thread_name_prefix="engine")
    asyncio.get_running_loop().set_default_executor(threads)
    health, engine, data = Health(), DockerEngine(settings.docker_host), _data_folder(settings)
    async with (
        health.serve(settings.health_check_host, settings.health_check_port),
        traced(settings, "host") as tracer,
        channel_to_api(settings) as channel,
    ):
        measured = await _measure_patiently(functools.partial(_measure, engine, data.inner))
        identity = await register(
            channel,
            settings,
            capabilities.to_registration(measured, settings.port_ranges),
            capabilities.FEATURES,
            file=data.host_file,
            component=health.component("api"),
        )
        with logs.bind(server_id=identity.server_id):
            await run_as(identity, settings, health, channel, tracer)


async def run_as(
    identity: Identity, settings: Settings, health: Health, channel: grpc.aio.Channel, tracer: Tracer = OFF
) -> None:
    """Serve as a host that knows who it is: recover, beat, obey commands, sweep; until cancelled."""
    labels, data = base_labels(identity), _data_folder(settings)
    engine = DockerEngine(settings.docker_host, labels, registry_auth_file=settings.registry_auth_file)
    health.add("engine", engine.version)
    broker, commands = health.component("broker"), health.component("commands")
    health.complete()
    async with (
        connect(settings, f"host-{identity.server_id}", component=broker) as connection,
        Publisher(connection) as publisher,
        Publisher(connection) as lines,
    ):
        announcer = Announcer(publisher, identity, tracer)
        starts = asyncio.Semaphore(settings.max_parallel_starts)
        parts = Parts(settings, identity, engine, data, announcer, starts, tracer)
        async with Supervisor(parts, connection, lines) as supervisor, asyncio.TaskGroup() as group:
            group.create_task(announcer.run())
            await _say_hello(announcer)
            await _recover_patiently(parts, supervisor)
            sampler = Sampler(engine, data.inner, supervisor.playing, interval_s=settings.stats_interval_seconds)
            beating = group.create_task(_beat(parts, publisher, supervisor, sampler))
            group.create_task(sampler.run())
            group.create_task(_sweep_for_ever(parts, supervisor, channel))
            queue = topology.host_command_queue(identity.server_id)
            try:
                with shown(sampler):
                    await consume(
                        connection, queue, supervisor.handle, concurrency=COMMANDS_AT_ONCE, component=commands
                    )
            finally:
                beating.cancel()  # a heartbeat after the good-bye would take it back
                with contextlib.suppress(Unavailable):
                    await announcer.host("offline")


def _data_folder(settings: Settings) -> DataFolder:
    inner, outer = Path(settings.inner_data_dir), Path(settings.host_data_dir)
    return DataFolder(inner=inner, outer=outer, environment=settings.environment)


async def _beat(parts: Parts, publisher: Publisher, supervisor: Supervisor, sampler: Sampler) -> None:
    await heartbeat.beat(
        publisher,
        parts.identity,
        interval_s=parts.settings.heartbeat_seconds,
        public_address=parts.settings.public_address,
        inventory=supervisor.inventory,
        measure=functools.partial(_measure, parts.engine, parts.data.inner),
        take_samples=sampler.take,
    )


async def _sweep_for_ever(parts: Parts, supervisor: Supervisor, channel: grpc.aio.Channel) -> None:
    settings = parts.settings

    async def sweep(now: datetime) -> int:
        return await sweep_orphans(
            parts,
            known=supervisor.session_ids,
            may_run=asks_api(channel, settings.grpc_auth_token.get_secret_value()),
            grace=timedelta(seconds=settings.orphan_grace_seconds),
            now=now,
            dry_run=settings.orphan_dry_run,
        )

    await run_periodically(
        "orphans", sweep, settings.orphan_interval_seconds, first_after_s=settings.orphan_interval_seconds
    )


async def _say_hello(announcer: Announcer) -> None:
    backoff = Backoff()
    while True:
        try:
            await announcer.host("online")
        except Unavailable as error:
            log.warning("hello_waits", reason=str(error))
            await backoff.pause()
        else:
            return


async def _recover_patiently(parts: Parts, supervisor: Supervisor) -> None:
    backoff = Backoff()
    while True:
        try:
            await recover(parts, supervisor)
        except ManManError as error:
            log.warning("recovery_waits", reason=str(error))
            await backoff.pause()
        else:
            return


async def _measure(engine: DockerEngine, data_dir: Path) -> Capabilities | None:
    """Measure this machine; None while the engine does not answer."""
    try:
        version = await engine.version()
    except ManManError:
        return None
    await asyncio.to_thread(functools.partial(data_dir.mkdir, parents=True, exist_ok=True))
    return await asyncio.to_thread(capabilities.measure, data_dir, version)


async def _measure_patiently(measure: Measure) -> Capabilities:
    backoff = Backoff(longest_s=5.0)
    while (measured := await measure()) is None:
        log.warning("engine_away")
        await backoff.pause()
    return measured
