"""The REST port: uvicorn in this process's own loop, without its own ideas about signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn
from fastapi import FastAPI

from manman.background import running
from manman_api.rest import gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from manman.rpc.chain import Chain
    from manman.rpc.services import Service

GRACE_S = 5
"""How long answers in progress may take when the process ends."""

BACKLOG = 1024

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves SIGTERM and SIGINT to `manman.service`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(services: Sequence[Service], chain: Chain) -> FastAPI:
    """Return the web application: the REST API of these services, its document and its page."""
    web = FastAPI(title="ManMan", docs_url=None, redoc_url=None, openapi_url=None)
    gateway.build(web, services, chain)
    return web


@contextlib.asynccontextmanager
async def serve(web: FastAPI, chain: Chain, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve `web` while the block runs; port 0 picks a free one, the port in use is what the block gets."""
    listener = socket.create_server((host, port), backlog=BACKLOG)
    # uvicorn writes head and body apart: else the body waits, up to 40 ms, until the client confirms the head
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(
        uvicorn.Config(
            web,
            access_log=False,
            log_config=None,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    used: int = listener.getsockname()[1]
    ended = asyncio.Event()
    with contextlib.closing(listener):
        async with running(_run(server, listener, ended), "rest"):
            log.info("rest_served", address=f"{host}:{used}")
            try:
                yield used
            finally:
                chain.end_streams()
                server.should_exit = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GRACE_S + 1):
                        await ended.wait()


async def _run(server: _Server, listener: socket.socket, ended: asyncio.Event) -> None:
    try:
        await server.serve(sockets=[listener])
    finally:
        ended.set()
