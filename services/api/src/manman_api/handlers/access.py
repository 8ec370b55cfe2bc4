"""API tokens and the audit log, as administrators see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.errors import Invalid, Problem
from manman_api import api_tokens, paging

if TYPE_CHECKING:
    from datetime import datetime

    from manman.db.models import ApiToken, AuditEntry
    from manman.db.unit_of_work import Uow
    from manman_api.paging import Page


async def create_token(
    *, name: str, role: str, expires_at: datetime | None, now: datetime, uow: Uow
) -> tuple[ApiToken, str]:
    """Make a token; returns its row and the token itself, which nobody can read again."""
    if expires_at is not None and expires_at <= now:
        raise Invalid([Problem("expires_at", "must be in the future; 0 means never")])
    secret = api_tokens.new_secret()
    async with uow() as tx:
        row = await tx.api_tokens.add(
            name=name, role=role, secret_hash=api_tokens.hash_of(secret), expires_at=expires_at
        )
        await tx.refresh(row)
        await tx.commit()
    return row, api_tokens.written(row.token_id, secret)


async def list_tokens(*, page: Page, uow: Uow) -> tuple[list[ApiToken], str]:
    """Return a page of tokens by id, and the token of the next page."""
    async with uow() as tx:
        return page.cut(await tx.api_tokens.list(limit=page.limit, offset=page.offset))


async def revoke_token(*, token_id: int, now: datetime, uow: Uow) -> ApiToken:
    """Make a token worthless; raise `NotFound`."""
    async with uow() as tx:
        row = await tx.api_tokens.revoke(token_id, now=now)
        await tx.commit()
        return row


async def list_audit_entries(
    *, subject: str, rpc: str, since: datetime | None, until: datetime | None, page: Page, uow: Uow
) -> tuple[list[AuditEntry], str]:
    """Return a page of the audit log, the newest first, and the token of the next page.

    A page continues below the last id of the one before, so that new entries move nothing.
    """
    async with uow() as tx:
        rows = await tx.audit_log.list(
            subject=subject, rpc=rpc, since=since, until=until, below=page.offset, limit=page.limit
        )
    shown = list(rows[: page.size])
    return shown, paging.token_of(shown[-1].entry_id) if len(rows) > page.size else ""
