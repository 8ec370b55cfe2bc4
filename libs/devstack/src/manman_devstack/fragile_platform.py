"""A platform on a broker and a database of its own, so that these can be killed, too, while games run.

async with fragile_platform(home, settings) as fragile:
await fragile.kill("broker")
await fragile.start("broker")
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import docker

from manman_devstack import databases, docker_engine, parts, postgres, rabbitmq
from manman_devstack.platform import Platform
from manman_devstack.stack import Infrastructure
from manman_devstack.stage import Database, Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from manman_devstack.home import Home
    from manman_devstack.postgres import PrivatePostgres
    from manman_devstack.private_server import PrivateServer
    from manman_devstack.rabbitmq import PrivateRabbitmq

SETTLED_S = 6.0
"""A quorum queue of RabbitMQ 3.10 does not survive a kill within its first second: a fault of the broker."""


@dataclass(frozen=True)
class FragilePlatform:
    """The platform and what it stands on; a part is a service, "broker" or "database"."""

    platform: Platform
    broker: PrivateRabbitmq
    server: PrivatePostgres
    engine: Engine
    ready_at: float

    @property
    def database(self) -> Database:
        """Eyes on its database."""
        return Database(self.platform.database_url)

    async def kill(self, part: str) -> None:
        """End a part at once, once what it made first has settled."""
        await asyncio.sleep(max(0.0, self.ready_at + SETTLED_S - time.monotonic()))
        server = self._server(part)
        await (asyncio.to_thread(server.kill) if server else self.platform.kill(part))

    async def stop(self, part: str) -> None:
        """End a part in order."""
        server = self._server(part)
        await (asyncio.to_thread(server.stop) if server else self.platform.stop(part))

    async def start(self, part: str) -> None:
        """Start a part that has ended; return when it is ready."""
        server = self._server(part)
        await (asyncio.to_thread(server.start) if server else self.platform.start(part))

    def _server(self, part: str) -> PrivateServer | None:
        return {"broker": self.broker, "database": self.server}.get(part)


@contextlib.asynccontextmanager
async def fragile_platform(home: Home, settings: Mapping[str, str]) -> AsyncIterator[FragilePlatform]:
    """Start all of it for the block; `settings` are more variables for every service."""
    name = secrets.token_hex(4)
    server = postgres.prepare(home, f"postgres-{name}")
    broker = rabbitmq.prepare(home, f"rabbitmq-{name}")
    with ExitStack() as stack:
        stack.callback(server.kill)
        await asyncio.to_thread(server.start)
        stack.callback(broker.mapper.kill)
        stack.callback(broker.kill)
        await asyncio.to_thread(broker.start)
        template = await asyncio.to_thread(databases.migrated_template, server.url)
        database_url = stack.enter_context(databases.fresh_database(server.url, template))
        infrastructure = Infrastructure(
            database_url, broker.url, parts.object_store(home), docker_engine.ensure().address
        )
        async with Platform(infrastructure, settings=settings, home=home) as platform:
            client = stack.enter_context(contextlib.closing(docker.DockerClient(base_url=platform.docker_host)))
            yield FragilePlatform(platform, broker, server, Engine(client, platform.labels), time.monotonic())
