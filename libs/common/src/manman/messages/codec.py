"""Bodies to bytes and back.

A body is one JSON object in UTF-8. Reading is lenient where other implementations differ: unknown keys are ignored, and
`null` means "not given" for any key. It is strict where a mistake would be believed: a key of the wrong type, a missing
mandatory key or broken JSON is `Invalid`. Times are RFC 3339, bytes are standard base64.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

import msgspec

from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from manman.messages.body import Body

BodyT = TypeVar("BodyT", bound="Body")

MAX_BODY_BYTES = 10 * 1024 * 1024
"""No body of ours comes near this; a longer one is not parsed at all."""

_encoder: msgspec.json.Encoder = msgspec.json.Encoder()


def encode(body: Body) -> bytes:
    """Return `body` as JSON. Keys that hold their default (zero) value are left out."""
    return _encoder.encode(body)


def decode(kind: type[BodyT], raw: bytes) -> BodyT:
    """Read a body of the given kind; raise `Invalid`, naming the key, for what cannot be one."""
    if len(raw) > MAX_BODY_BYTES:
        raise Invalid([Problem("body", f"send at most {MAX_BODY_BYTES} bytes, not {len(raw)}")])
    try:
        return _read(kind, raw)
    except msgspec.ValidationError as error:
        raise Invalid([Problem(kind.__name__, str(error))]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid([Problem("body", f"send one JSON object in UTF-8 ({error})")]) from error


def _read(kind: type[BodyT], raw: bytes) -> BodyT:
    """Read directly, and again without any `null` for senders that write empty lists and maps that way."""
    decoder: msgspec.json.Decoder[BodyT] = _decoder(kind)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), kind)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


@functools.cache
def _decoder(kind: type[BodyT]) -> msgspec.json.Decoder[BodyT]:
    return msgspec.json.Decoder(kind)
