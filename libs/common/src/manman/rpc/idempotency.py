"""How idempotency keys arrive: as metadata (REST: a header) of the RPCs whose proto says `idempotent_by_key`.

What a key means is `manman.domain.idempotency`'s. A key that comes with any other RPC is ignored: clients send them
with everything.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from manman.domain.idempotency import FIELD, Attempt
from manman.errors import Problem
from manman.v1 import idempotency_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

MAX_LENGTH = 200
PATTERN = f"^[!-~]{{1,{MAX_LENGTH}}}$"
"""Visible ASCII."""


def takes_key(method: MethodDescriptor) -> bool:
    """Tell whether calls of `method` may carry a key."""
    return bool(method.GetOptions().Extensions[idempotency_pb2.idempotent_by_key])


def key_problems(method: MethodDescriptor, metadata: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with the key that came with a call."""
    key = metadata.get(FIELD)
    if key is None or not takes_key(method) or re.fullmatch(PATTERN, key):
        return []
    return [Problem(FIELD, f"use 1 to {MAX_LENGTH} visible ASCII characters")]


def attempt_of(method: MethodDescriptor, request: Message, metadata: Mapping[str, str], subject: str) -> Attempt | None:
    """Return the attempt that a call is, None when it carries no key. The way in, gRPC or REST, makes no difference."""
    key = metadata.get(FIELD)
    if key is None or not takes_key(method):
        return None
    fingerprint = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    rpc = f"{method.containing_service.name}.{method.name}"
    return Attempt(subject=subject, rpc=rpc, key=key, fingerprint=fingerprint)
