"""API tokens: `mm_ID_SECRET`. The id finds the row, the secret's SHA-256 proves the holder.

A secret has 256 random bits, so nothing slower than SHA-256 is needed: there is no dictionary to try. It is shown
once, when the token is made, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from manman.db.api_tokens import is_use_to_be_noted
from manman.errors import Unauthenticated
from manman.rpc.access import ROLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from manman.db.unit_of_work import Uow
    from manman.rpc.access import Verify

PREFIX = "mm_"
_TOKEN = re.compile(r"mm_([0-9]{1,18})_([A-Za-z0-9_-]{43})")
_NOBODY = bytes(hashlib.sha256().digest_size)
_REFUSED = "this API token is not known: it is incomplete, of another installation, or deleted"


def new_secret() -> str:
    """Return 256 random bits as 43 characters."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def written(token_id: int, secret: str) -> str:
    """Return a token as callers send it."""
    return f"{PREFIX}{token_id}_{secret}"


def subject_of(token_id: int, name: str) -> str:
    """Return what the audit log calls the holder of a token."""
    return f"{PREFIX}{token_id}:{name}"


def verify_in(uow: Uow, now: Callable[[], datetime]) -> Verify:
    """Return the function that knows the holders of API tokens. It asks the database each time: revoked is revoked."""

    async def verify(token: str) -> Caller:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Unauthenticated(_REFUSED)
        row = await uow.reads.api_tokens.find(int(match[1]))
        expected = row.secret_hash if row is not None else _NOBODY
        if not hmac.compare_digest(expected, hash_of(match[2])) or row is None:
            raise Unauthenticated(_REFUSED)
        used_at = now()
        if row.revoked_at is not None:
            raise Unauthenticated("this API token was revoked")
        if row.expires_at is not None and row.expires_at <= used_at:
            raise Unauthenticated("this API token has expired")
        if is_use_to_be_noted(row, used_at):
            async with uow() as tx:
                await tx.api_tokens.mark_used(row.token_id, now=used_at)
                await tx.commit()
        return Caller(subject_of(row.token_id, row.name), ROLES[row.role])

    return verify
