"""Probes: is this process alive, is it ready for work, and what does it count.

    /livez, /healthz   200 while the event loop turns
    /readyz            200 if every component is up and every check passes, else 503; a JSON body says why
    /metrics           Prometheus text

A *component* is a part that reports its own state when it changes (the broker connection). A *check* is asked each
time (a database ping) and must answer within two seconds. A process is not ready before it has named all of them and
said so (`complete`): the parts that come up first do not speak for the others. The server speaks just enough HTTP/1.1
for probes, so that processes without a web framework have them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CHECK_TIMEOUT_S = 2.0
REQUEST_TIMEOUT_S = 5.0
MAX_REQUEST_LINES = 100
JSON_TYPE = "application/json"

log = structlog.get_logger(__name__)


class Component:
    """One part's own word on itself. Starts as down, because nothing is up before it says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason: str | None = "not started yet"

    def up(self) -> None:
        """Say that the part works."""
        if self.reason is not None:
            log.info("component_up", component=self.name)
        self.reason = None

    def down(self, reason: str) -> None:
        """Say that the part does not work, and why, in words for an operator."""
        if self.reason != reason:
            log.warning("component_down", component=self.name, reason=reason)
        self.reason = reason


@dataclass(frozen=True)
class Response:
    """A probe's answer before it is put on the wire."""

    status: str
    body: bytes
    content_type: str = JSON_TYPE


class Health:
    """All components and checks of one process, and the server that shows them."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {}
        self._is_complete = False

    def component(self, name: str) -> Component:
        """Return the component of that name, made on first use."""
        return self._components.setdefault(name, Component(name))

    def add(self, name: str, check: Callable[[], Awaitable[object]]) -> None:
        """Add a check that raises while its part does not work. What it returns does not matter."""
        self._checks[name] = check

    def complete(self) -> None:
        """Say that every component and check is known now."""
        self._is_complete = True

    async def problems(self) -> dict[str, str]:
        """Return what keeps the process from being ready, by name; empty means ready."""
        found = {} if self._is_complete else {"start": "not all parts have been started yet"}
        found |= {part.name: part.reason for part in self._components.values() if part.reason is not None}
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(_ask(check)) for name, check in self._checks.items()}
        found.update({name: reason for name, task in asked.items() if (reason := task.result()) is not None})
        return found

    @contextlib.asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve the probes while the block runs. Port 0 picks a free one; the port in use is what the block gets."""
        server = await asyncio.start_server(self._handle, host, port)
        used: int = server.sockets[0].getsockname()[1]
        log.info("probes_served", host=host, port=used)
        try:
            yield used
        finally:
            server.close()
            await server.wait_closed()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                method, path = await _read_request(reader)
                response = await self._respond(method, path)
                head = (
                    f"HTTP/1.1 {response.status}\r\nContent-Type: {response.content_type}\r\n"
                    f"Content-Length: {len(response.body)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + (b"" if method == "HEAD" else response.body))
                await writer.drain()
        except (TimeoutError, ValueError, OSError) as error:
            log.debug("probe_request_dropped", error=repr(error))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, method: str, path: str) -> Response:
        if method not in {"GET", "HEAD"}:
            return Response("405 Method Not Allowed", b'{"error":"only GET"}')
        match path.partition("?")[0]:
            case "/livez" | "/healthz":
                return Response("200 OK", b'{"status":"alive"}')
            case "/readyz":
                problems = await self.problems()
                body = {"status": "not ready" if problems else "ready", "problems": problems}
                return Response("503 Service Unavailable" if problems else "200 OK", json.dumps(body).encode())
            case "/metrics":
                return Response("200 OK", generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            case _:
                return Response("404 Not Found", b'{"error":"try /livez, /readyz or /metrics"}')


async def _ask(check: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer, and it is shown
        return str(error) or type(error).__name__
    return None


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Return method and path. The stream reader bounds each line (64 KiB); the number of lines is bounded here."""
    parts = (await reader.readline()).decode("latin-1").split()
    if len(parts) < 2:  # noqa: PLR2004 - a request line has a method and a path
        raise ValueError("not an HTTP request")
    for _ in range(MAX_REQUEST_LINES):
        if (await reader.readline()).strip() == b"":
            return parts[0], parts[1]
    raise ValueError("too many header lines")
