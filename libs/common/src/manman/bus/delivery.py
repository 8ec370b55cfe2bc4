"""A *delivery* is a message as it came, without the client library that brought it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The key a message was sent with, its body as bytes, and its properties."""

    routing_key: str
    body: bytes
    message_id: str | None
    headers: Mapping[str, object]
    correlation_id: str | None
    reply_to: str | None
    redelivered: bool
