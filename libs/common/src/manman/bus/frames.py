"""The frames of AMQP 0-9-1 that pass by the thousand, to bytes and back; `pamqp` does all the others.

A message is three frames or more: a method, a header with its properties, and its body in pieces. Everything is on
channel 1. Pure: no socket, no state.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from pamqp import decode, encode

if TYPE_CHECKING:
    from manman.bus.publisher import Outgoing

CHANNEL = 1
METHOD, HEADER, BODY = 1, 2, 3
HEAD = struct.Struct(">BHI")
OVERHEAD = HEAD.size + 1
KEEP_ALIVE = b"\x08\x00\x00\x00\x00\x00\x00\xce"

METHOD_ID_SIZE = 4
DELIVER, RETURN, ACK, NACK = b"\0\x3c\0\x3c", b"\0\x3c\0\x32", b"\0\x3c\0\x50", b"\0\x3c\0\x78"

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION, _MESSAGE_ID = 0x0400, 0x0200, 0x0100, 0x0080
_TIMESTAMP, _APP_ID = 0x0040, 0x0008
_ALWAYS = _CONTENT_TYPE | _MESSAGE_ID | _TIMESTAMP | _APP_ID
_JSON = b"\x10application/json"
_PERSISTENT = b"\x02"
_LENGTH = struct.Struct(">I")
_TAG_AND_FLAGS = struct.Struct(">QB")
_SIZE_AND_FLAGS = struct.Struct(">HHQH")


class Headers(Mapping[str, object]):
    """The headers of a message, read when somebody looks: most messages are handled without."""

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._values: Mapping[str, object] | None = None

    def __getitem__(self, name: str) -> object:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> Mapping[str, object]:
        if self._values is None:
            self._values = decode.field_table(self._raw)[1]
        return self._values


class Properties(msgspec.Struct, frozen=True, gc=False):
    """What a header frame says, as far as we use it."""

    body_size: int
    message_id: str | None
    headers: Mapping[str, object]
    correlation_id: str | None
    reply_to: str | None


_NO_HEADERS: Mapping[str, object] = {}
NOTHING = Properties(0, None, _NO_HEADERS, None, None)


def frame(kind: int, payload: bytes) -> bytes:
    """Return one frame."""
    return b"%b%b\xce" % (HEAD.pack(kind, CHANNEL, len(payload)), payload)


def publish(message: Outgoing, app_id: str, timestamp_s: int, frame_max: int) -> bytes:
    """Return all frames of one message that is sent."""
    body, room = message.body, frame_max - OVERHEAD
    method = _publish_method(message.exchange, message.routing_key, message.mandatory)
    flags, properties = _properties(message, app_id, timestamp_s)
    header = frame(HEADER, _SIZE_AND_FLAGS.pack(60, 0, len(body), flags) + properties)
    if 0 < len(body) <= room:
        return method + header + frame(BODY, body)
    return method + header + b"".join(frame(BODY, body[at : at + room]) for at in range(0, len(body), room))


def acknowledge(tag: int) -> bytes:
    """Return the frame that acknowledges everything up to `tag`."""
    return frame(METHOD, ACK + _TAG_AND_FLAGS.pack(tag, 1))


def read_deliver(payload: bytes) -> tuple[int, bool, str]:
    """Return delivery tag, whether it was delivered before, and routing key of `basic.deliver`."""
    at = 5 + payload[4]
    tag, redelivered = _TAG_AND_FLAGS.unpack_from(payload, at)
    at += _TAG_AND_FLAGS.size
    at += 1 + payload[at]  # the exchange
    return tag, redelivered != 0, payload[at + 1 : at + 1 + payload[at]].decode()


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Return delivery tag and `multiple` of `basic.ack` or `basic.nack`."""
    tag, flags = _TAG_AND_FLAGS.unpack_from(payload, METHOD_ID_SIZE)
    return tag, bool(flags & 1)


def read_header(payload: bytes) -> Properties:
    """Return what a header frame says. Properties behind the message id are of no interest here."""
    _, _, size, flags = _SIZE_AND_FLAGS.unpack_from(payload)
    at = _SIZE_AND_FLAGS.size
    headers: Mapping[str, object] = _NO_HEADERS
    correlation_id = reply_to = message_id = None
    if flags & _CONTENT_TYPE:
        at += 1 + payload[at]
    if flags & _CONTENT_ENCODING:
        at += 1 + payload[at]
    if flags & _HEADERS:
        end = at + _LENGTH.size + _LENGTH.unpack_from(payload, at)[0]
        headers, at = Headers(payload[at:end]), end
    at += (flags & _DELIVERY_MODE != 0) + (flags & _PRIORITY != 0)
    if flags & _CORRELATION_ID:
        correlation_id, at = _read_short(payload, at)
    if flags & _REPLY_TO:
        reply_to, at = _read_short(payload, at)
    if flags & _EXPIRATION:
        at += 1 + payload[at]
    if flags & _MESSAGE_ID:
        message_id, at = _read_short(payload, at)
    return Properties(size, message_id, headers, correlation_id, reply_to)


def _read_short(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    return payload[at + 1 : end].decode(), end


@functools.lru_cache(maxsize=1024)  # events have few keys, the log lines of a host one for each of its sessions
def _publish_method(exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - as the frame has it
    names = _short(exchange.encode()) + _short(routing_key.encode())
    return frame(METHOD, b"\x00\x3c\x00\x28\x00\x00%b%c" % (names, mandatory))


@functools.lru_cache(maxsize=1)  # the same for everything that is sent together
def _stamp(timestamp_s: int, app_id: str) -> bytes:
    return timestamp_s.to_bytes(8, "big") + _short(app_id.encode())


def _properties(message: Outgoing, app_id: str, timestamp_s: int) -> tuple[int, bytes]:
    """Return the flags and values of what a message carries, in the order that the protocol gives them."""
    flags, values = _ALWAYS, _JSON
    if message.headers:
        flags |= _HEADERS
        values += encode.field_table(dict(message.headers))
    if message.persistent:
        flags |= _DELIVERY_MODE
        values += _PERSISTENT
    if message.correlation_id is not None:
        flags |= _CORRELATION_ID
        values += _short(message.correlation_id.encode())
    if message.reply_to is not None:
        flags |= _REPLY_TO
        values += _short(message.reply_to.encode())
    if message.expiration_ms is not None:
        flags |= _EXPIRATION
        values += _short(b"%d" % message.expiration_ms)
    return flags, values + _short(message.message_id.encode()) + _stamp(timestamp_s, app_id)


def _short(text: bytes) -> bytes:
    return b"%c%b" % (len(text), text)
