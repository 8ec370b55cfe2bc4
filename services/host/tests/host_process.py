"""A host as a process of its own, without an API to register at: `python host_process.py SERVER_ID`."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from uuid import uuid4

from manman import logs, service
from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.health import Component
from manman.rpc.client import channel_to_api
from manman_host import app, capabilities
from manman_host.announcer import Announcer
from manman_host.docker_engine import DockerEngine
from manman_host.identity import Identity
from manman_host.session_folder import DataFolder
from manman_host.session_start import Parts
from manman_host.settings import Settings


async def measure(folder: Path) -> capabilities.Capabilities:
    return capabilities.measure(folder, "test")


async def serve(settings: Settings, server_id: int) -> None:
    """Serve as server `server_id` until cancelled."""
    folder = Path(settings.host_data_dir)
    identity = Identity(server_id, "test", settings.environment, uuid4())
    async with (
        connect(settings, f"host-{server_id}") as connection,
        Publisher(connection) as publisher,
        channel_to_api(settings) as channel,
    ):
        parts = Parts(
            settings,
            identity,
            DockerEngine(settings.docker_host),
            DataFolder(inner=folder, outer=folder, environment=settings.environment),
            Announcer(publisher, identity),
            asyncio.Semaphore(settings.max_parallel_starts),
        )
        measuring = functools.partial(measure, folder)
        await app.serve(parts, connection, publisher, channel, measure=measuring, commands=Component("commands"))


if __name__ == "__main__":
    logs.configure("info", "console", "host")
    service.run(serve(Settings(), int(sys.argv[1])))
