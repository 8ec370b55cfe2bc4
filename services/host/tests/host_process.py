"""A host as a process of its own, without an API to register at: `python host_process.py SERVER_ID`."""

from __future__ import annotations

import sys
from uuid import uuid4

from manman import logs, service
from manman.health import Health
from manman.rpc.client import channel_to_api
from manman_host import app
from manman_host.identity import Identity
from manman_host.settings import Settings


async def serve(settings: Settings, server_id: int) -> None:
    """Serve as server `server_id` until cancelled."""
    async with channel_to_api(settings) as channel:
        identity = Identity(server_id, "test", settings.environment, uuid4())
        await app.run_as(identity, settings, Health(), channel)


if __name__ == "__main__":
    logs.configure("info", "console", "host")
    service.run(serve(Settings(), int(sys.argv[1])))
