"""New identifiers: random UUIDs (version 4), made by the thousand without asking the kernel for each."""

from __future__ import annotations

import os
from uuid import UUID

_BYTES = 16
_POOL_SIZE = 256 * _BYTES

_pool = bytearray()


def new_id() -> UUID:
    """Return a UUID that nobody has seen before. Not for secrets, and not across a fork."""
    if not _pool:
        _pool.extend(os.urandom(_POOL_SIZE))
    identifier = UUID(bytes=bytes(_pool[-_BYTES:]), version=4)
    del _pool[-_BYTES:]
    return identifier
