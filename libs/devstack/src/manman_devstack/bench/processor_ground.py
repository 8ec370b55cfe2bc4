"""The ground of the processor's bench: a private Postgres and RabbitMQ with a fleet in them, and what is run there.

Everything that is measured works on the same database and the same durable quorum queues: reports in, external events
out into one queue, from which they are read back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from manman.bus import topology
from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.messages import routing
from manman.settings import BusSettings
from manman_devstack import databases, parts, postgres, rabbitmq
from manman_devstack.bench import processor_fleet
from manman_devstack.bench.figures import Meter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from manman.bus.connection import Connection
    from manman.bus.publisher import Outgoing
    from manman_devstack.bench.processor_fleet import Fleet
    from manman_devstack.postgres import PrivatePostgres
    from manman_devstack.rabbitmq import PrivateRabbitmq

PROCESSOR = "manman_processor"
ONE_AT_A_TIME = "manman_devstack.bench.processor_one_at_a_time"
BARE_RELAY = "manman_devstack.bench.processor_bare_relay"

REPORTS = topology.event_queue(routing.PROCESSOR_EVENTS, routing.PROCESSOR_EVENT_KEYS)
AUDIT = topology.event_queue("bench-audit", ("manman.session.#",), exchange=routing.EXTERNAL_EXCHANGE)
NO_HOST_IS_STALE_S = 3600
START_TIMEOUT_S = 30.0
LOOK_S = 0.02


@dataclass(frozen=True)
class Usage:
    """Wall time, and processor time of the three programs, in seconds."""

    elapsed_s: float
    python_s: float
    broker_s: float
    database_s: float

    def since(self, before: Usage) -> Usage:
        """Return what was used between the two."""
        return Usage(
            self.elapsed_s - before.elapsed_s,
            self.python_s - before.python_s,
            self.broker_s - before.broker_s,
            self.database_s - before.database_s,
        )


@dataclass(frozen=True)
class Ground:
    """What there is to work with."""

    fleet: Fleet
    connection: Connection
    publisher: Publisher
    channel: Any
    """The client library's: it has its door elsewhere."""
    database: PrivatePostgres
    broker: PrivateRabbitmq

    async def offer(self, messages: Sequence[Outgoing]) -> None:
        """Publish messages; all of them are in the queue afterwards."""
        failures = [result for result in await self.publisher.publish_many(messages, timeout_s=60.0) if result]
        if failures:
            raise RuntimeError(f"{len(failures)} messages were not taken: {failures[0]}")

    async def waiting(self, queue: topology.Queue) -> int:
        """Return how many messages wait in a queue."""
        return (await self._declared(queue)).message_count or 0

    async def clear(self) -> None:
        """Throw away what is in the queues, and what a program that was ended had in its hands: it comes back first."""
        await self._consumers(of_reports=False)
        for queue in (REPORTS, AUDIT):
            await (await self.channel.get_queue(queue.name, ensure=False)).purge()

    async def begin_again(self, status: str = "pending") -> None:
        """Let nothing wait anywhere, and all sessions be in this state."""
        await self.clear()
        self.fleet.begin_again(status)

    @contextlib.contextmanager
    def running(self, module: str, **settings: object) -> Iterator[int]:
        """Run a program on this ground for the block, give its process id, and end it hard."""
        variables = {
            "PG_DATABASE_URL": self.fleet.database_url,
            "RABBITMQ_URL": self.broker.url,
            "HEALTH_CHECK_HOST": "127.0.0.1",
            "HEALTH_CHECK_PORT": "0",
            "LOG_LEVEL": "warning",
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        process = subprocess.Popen([sys.executable, "-m", module], env={**os.environ, **variables})
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()

    async def consuming(self) -> None:
        """Wait until somebody consumes the reports."""
        await self._consumers(of_reports=True)

    async def _consumers(self, *, of_reports: bool) -> None:
        async with asyncio.timeout(START_TIMEOUT_S):
            while bool((await self._declared(REPORTS)).consumer_count) != of_reports:  # noqa: ASYNC110 - another program
                await asyncio.sleep(LOOK_S)

    async def _declared(self, queue: topology.Queue) -> Any:  # noqa: ANN401 - the same
        return (await self.channel.declare_queue(queue.name, passive=True)).declaration_result

    def usage(self, pid: int) -> Usage:
        """Return what was used so far, by that process too."""
        broker, database = self.broker.daemon.pid, self.database.daemon.pid
        if broker is None or database is None:
            raise RuntimeError("a server of the bench has ended")
        used_s = (Meter(one).seconds() for one in (pid, broker, database))
        return Usage(time.perf_counter(), *used_s)


@contextlib.asynccontextmanager
async def prepared() -> AsyncIterator[Ground]:
    """Start the servers, fill the database, declare the queues; end everything afterwards."""
    home = parts.own_run_home()
    try:
        database, broker = postgres.prepare(home), rabbitmq.prepare(home)
        database.start()
        broker.start()
        template = databases.migrated_template(database.url)
        with databases.fresh_database(database.url, template) as url:
            fleet = processor_fleet.make(url)
            settings = BusSettings(rabbitmq_url=SecretStr(broker.url))
            async with connect(settings, "bench") as connection, Publisher(connection) as publisher:
                for queue in (REPORTS, AUDIT):
                    await topology.declare_queue(connection, queue)
                async with connection.channel() as channel:
                    yield Ground(fleet, connection, publisher, channel, database, broker)
    finally:
        parts.end_run(home)
