"""Idempotency keys: how a caller that heard no answer asks again without doing the thing twice.

The caller makes up a *key* for each thing that it wants done. Calls of one caller to one RPC with the same key are
*attempts* at the same thing: the first that succeeds does it, later ones are told of what it made. An attempt that
fails leaves nothing, so the next one starts afresh.

Not here: where keys are kept (`manman.db.idempotency`) and how they arrive (`manman.rpc.idempotency`).
"""

from __future__ import annotations

from dataclasses import dataclass

from manman.errors import Invalid, Problem

FIELD = "idempotency-key"


@dataclass(frozen=True)
class Attempt:
    """One attempt: who wants what done, under which key, and the SHA-256 of the whole request."""

    subject: str
    rpc: str
    key: str
    fingerprint: bytes


def check_same_request(attempt: Attempt, first: bytes) -> None:
    """Raise Invalid when the key came first with another request, of which `first` is the fingerprint."""
    if attempt.fingerprint != first:
        text = f"it came with another {attempt.rpc.rpartition('.')[2]} request before; use a new key for a new request"
        raise Invalid([Problem(FIELD, text)])
