"""Server streaming as server-sent events: one message an event, numbered, so that a client can go on where it was.

    id: 17                     the message's sequence_number, when it has one; comes back as Last-Event-ID
    data: {"message": …}

A refusal before the first message keeps its HTTP status; a later failure is `event: error` with a google.rpc.Status;
the end of the stream is `event: end`, so that a browser knows not to come back. Between messages a comment goes out
at least every KEEP_ALIVE_S seconds, so that nobody on the way gives up the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import structlog

from manman.rpc.chain import REQUEST_ID_KEY
from manman.rpc.errors import CallFailed
from manman_api.rest.json_text import text_of
from manman_api.rest.replies import failure, failure_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from google.protobuf.message import Message
    from starlette.types import Receive, Scope, Send

KEEP_ALIVE_S = 10.0
OPEN_AFTER_S = 0.5
"""How long a refusal may take and still be an HTTP status; then the response begins, message or not."""
RETRY_MS = 1000
NUMBER_FIELD = "sequence_number"


log = structlog.get_logger(__name__)


class _ClientLeft(Exception):  # noqa: N818 - a signal within this module
    """The client closed the connection."""


class EventStream:
    """An ASGI response that pumps a stream of messages to one client."""

    def __init__(self, items: AsyncGenerator[Message, None], request_id: str) -> None:
        self._items = items
        self._request_id = request_id
        self._begun = False
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends or the client leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._keep_alive(send)), group.create_task(_until_left(receive))]
                async with contextlib.aclosing(self._items) as items:
                    await self._pump(items, scope, receive, send)
                for helper in helpers:
                    helper.cancel()
        except* _ClientLeft:
            log.debug("stream_left", request_id=self._request_id)

    async def _pump(self, items: AsyncGenerator[Message, None], scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for item in items:
                await self._send(send, _event(item))
            last = b"event: end\ndata: {}\n\n"
        except CallFailed as failed:
            async with self._sending:
                if not self._begun:
                    self._begun = True
                    await failure(failed.status, self._request_id)(scope, receive, send)
                    return
            last = b"event: error\ndata: " + _line(failure_body(failed.status)) + b"\n\n"
        await self._send(send, last)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        await asyncio.sleep(OPEN_AFTER_S)
        while True:
            await self._send(send, b": keep-alive\n\n")
            await asyncio.sleep(KEEP_ALIVE_S)

    async def _send(self, send: Send, event: bytes) -> None:
        async with self._sending:
            if not self._begun:
                self._begun = True
                await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
                event = b"retry: %d\n" % RETRY_MS + event
            await send({"type": "http.response.body", "body": event, "more_body": True})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # proxies: pass it on as it comes
            (REQUEST_ID_KEY.encode(), self._request_id.encode()),
        ]


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _ClientLeft


def _event(item: Message) -> bytes:
    number = getattr(item, NUMBER_FIELD, 0)
    return (b"id: %d\n" % number if number else b"") + b"data: " + text_of(item).encode() + b"\n\n"


def _line(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
