"""Server-sent events to browsers: how many at once, and how each one ends.

A stream ends when its events end, when the browser leaves, or when this process closes; whichever comes first stops
the rest, in the task that serves the request, so nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from starlette.types import Receive, Scope, Send

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class Streams:
    """All open streams of this process: a limit, and an end for all of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closing = asyncio.Event()
        self.open = 0

    def respond(
        self, events: AsyncGenerator[str, None], *, beside: Coroutine[object, object, None] | None = None
    ) -> Response:
        """Return the response that sends `events`, with `beside` running as long as it does; 503 when full."""
        if self.open >= self._limit or self._closing.is_set():
            if beside is not None:
                beside.close()
            return Response("too many pages follow live; this one shows its state as of now", 503)
        return _EventStream(self, events, beside)

    def close(self) -> None:
        """End every stream; browsers come back by themselves."""
        self._closing.set()

    async def closing(self) -> None:
        """Return when the process closes."""
        await self._closing.wait()


class _EventStream(Response):
    def __init__(
        self, streams: Streams, events: AsyncGenerator[str, None], beside: Coroutine[object, object, None] | None
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._streams = streams
        self._events = events
        self._beside = beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until it, the browser or the process ends."""
        del scope
        self._streams.open += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(work) for work in ([self._beside] if self._beside is not None else [])]
                ends = [
                    group.create_task(self._send_all(send)),
                    group.create_task(_gone(receive)),
                    group.create_task(self._streams.closing()),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (*background, *ends):
                    task.cancel()
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._streams.open -= 1

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._events) as events:
            async for chunk in events:
                await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
