"""The composition root: from settings to pages that answer.

A process is one gRPC channel to the API, one poller for live pages, one web server, and the probes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from manman.health import Health
from manman.rpc import client
from manman_ui.api_client import ApiClient
from manman_ui.live import Live
from manman_ui.pages import actions, dashboard, deployments, games, hosts, probes, problems, session, sessions
from manman_ui.security import Guard
from manman_ui.streaming import Streams
from manman_ui.web import STATIC, Web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response
    from starlette.types import Scope

    from manman_ui.settings import Settings

SHUTDOWN_TIMEOUT_S = 5
MAX_FORM_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class _Assets(StaticFiles):
    """Vendored files and our own. Their addresses change with their content, so browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file and say how long it may be kept."""
        response = await super().get_response(path, scope)
        fixed = b"v=" in scope["query_string"]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fixed else "no-cache"
        return response


def build(web: Web, health: Health) -> FastAPI:
    """Return the web application around its parts."""
    app = FastAPI(
        title="ManMan",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        max_body_size=MAX_FORM_BYTES,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(Guard)
    app.mount("/static", _Assets(directory=STATIC), name="static")
    for module in (dashboard, sessions, session, actions, hosts, deployments, games):
        app.include_router(module.routes(web))
    app.include_router(probes.routes(health))
    problems.install(app, web)
    return app


@dataclass(frozen=True)
class Running:
    """The UI while it serves: where, and who looks."""

    url: str
    live: Live
    streams: Streams


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Running]:
    """Serve the pages while the block runs, and end open streams when it is left."""
    health = Health()
    streams = Streams(settings.max_viewers)
    async with (
        client.channel_to_api(settings) as channel,
        health.serve(settings.health_check_host, settings.health_check_port),
    ):
        api = ApiClient(channel, settings.api_timeout_seconds, settings.grpc_auth_token.get_secret_value())
        health.add("api", api.ping)
        live = Live(api, interval_s=settings.live_interval_seconds)
        server, listener = _web_server(build(Web(api, live, streams), health), settings)
        await server.startup(sockets=[listener])
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(server.main_loop()), group.create_task(live.run())]
                port = listener.getsockname()[1]
                log.info("pages_served", host=settings.host, port=port)
                health.complete()
                yield Running(f"http://127.0.0.1:{port}", live, streams)
                for task in work:
                    task.cancel()
        finally:
            streams.close()
            await server.shutdown(sockets=[listener])


async def main(settings: Settings) -> None:
    """Serve until cancelled."""
    async with serving(settings):
        await asyncio.Event().wait()


def _web_server(app: FastAPI, settings: Settings) -> tuple[uvicorn.Server, socket.socket]:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        proxy_headers=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    listener.set_inheritable(True)
    return server, listener
