"""Request bodies: JSON or nothing, and not too long.

A body that says that it is too long is refused before it is read, one that turns out to be before its end. Most
clients read no answer before they have sent everything, so after such a refusal what still comes is read and thrown
away, within limits: a connection that is closed with data unread takes the answer with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from google.rpc import code_pb2

from manman.rpc.server import MAX_MESSAGE_BYTES
from manman_api.rest.replies import JSON_TYPE, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = MAX_MESSAGE_BYTES
LINGER_S = 2.0
LINGER_BYTES = 2 * MAX_BODY_BYTES
"""How long, and how much, is thrown away after a refusal before the connection is closed."""


class Refused(Exception):  # noqa: N818 - it is how a request ends, with its response
    """The request ends here with this response."""

    def __init__(self, response: ASGIApp) -> None:
        self.response = response
        super().__init__()


async def read_body(receive: Receive, metadata: Mapping[str, str], request_id: str) -> bytes:
    """Return the body; raise Refused.

    Only JSON gets in: forms and plain text are what foreign pages can send unasked.
    """
    declared = metadata.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > MAX_BODY_BYTES:
        raise Refused(_too_long(request_id))
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            raise Refused(_too_long(request_id))
    content_type = metadata.get("content-type", JSON_TYPE).partition(";")[0].strip().lower()
    if size and content_type != JSON_TYPE:
        text = f"the body must be {JSON_TYPE}, not {content_type}"
        raise Refused(refusal(code_pb2.INVALID_ARGUMENT, text, request_id, 415))
    return b"".join(chunks)


def _too_long(request_id: str) -> ASGIApp:
    text = f"the body has more than {MAX_BODY_BYTES} bytes"
    response = refusal(code_pb2.INVALID_ARGUMENT, text, request_id, 413, {"connection": "close"})

    async def answer_and_linger(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_but_the_end(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await response(scope, receive, send_but_the_end)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _throw_away(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer_and_linger


async def _throw_away(receive: Receive) -> None:
    size = 0
    more = True
    while more and size <= LINGER_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
