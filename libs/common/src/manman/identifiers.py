"""New identifiers: random UUIDs (version 4), made some at a time without asking the kernel for each.

They are text: they are written into messages and rows by the thousand, and nobody calculates with them.
"""

from __future__ import annotations

import os
from struct import Struct

_MADE_AT_ONCE = 256
_BYTES = 16
_GROUPS = Struct("8s4s4s4s12s")

# what RFC 9562 (5.4) says of two of the bytes: their upper bits tell which kind of UUID it is
_VERSION = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))

_ready: list[str] = []


def new_id() -> str:
    """Return a UUID that nobody has seen before. Not for secrets, and not across a fork."""
    if not _ready:
        made = bytearray(os.urandom(_MADE_AT_ONCE * _BYTES))
        made[6::_BYTES] = made[6::_BYTES].translate(_VERSION)
        made[8::_BYTES] = made[8::_BYTES].translate(_VARIANT)
        _ready.extend(b"-".join(groups).decode() for groups in _GROUPS.iter_unpack(made.hex().encode()))
    return _ready.pop()
