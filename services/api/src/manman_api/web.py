"""The REST port: uvicorn in this process's own loop, without its own ideas about signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from manman.background import running
from manman.domain.idempotency import FIELD as IDEMPOTENCY_KEY
from manman.rpc.access import AUTHORIZATION_KEY
from manman.rpc.chain import REQUEST_ID_KEY
from manman_api.rest import gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from manman.rpc.chain import Chain
    from manman.rpc.services import Service

GRACE_S = 5
"""How long answers in progress may take when the process ends."""

BACKLOG = 1024
MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; more is answered with 400."""

PREFLIGHT_S = 600
"""How long a browser need not ask again whether a page may call."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves SIGTERM and SIGINT to `manman.service`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(services: Sequence[Service], chain: Chain, allowed_origins: Collection[str] = ()) -> FastAPI:
    """Return the web application: the REST API of these services, its document and its page.

    Pages of `allowed_origins` may call it from a browser and read the answers; they send a token like everybody, for
    there are no cookies.
    """
    web = FastAPI(title="ManMan", docs_url=None, redoc_url=None, openapi_url=None)
    gateway.build(web, services, chain, allowed_origins)
    if allowed_origins:
        web.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[AUTHORIZATION_KEY, "content-type", IDEMPOTENCY_KEY, "last-event-id", REQUEST_ID_KEY],
            expose_headers=[REQUEST_ID_KEY, "retry-after"],
            max_age=PREFLIGHT_S,
        )
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
            http="h11",
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
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
