"""Dead letters, as operators see them: look, send again, throw away. `manman_processor` stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from manman.errors import Conflict, Invalid, NotFound, Problem
from manman_api import paging

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from manman.db.models import DeadLetter
    from manman.db.unit_of_work import Uow
    from manman_api.paging import Page

log = structlog.get_logger(__name__)


async def list_letters(*, queue: str, waiting_only: bool, page: Page, uow: Uow) -> tuple[list[DeadLetter], str]:
    """Return a page of letters without bodies, the newest first, and the token of the next page.

    A page continues below the last id of the one before, so that new letters move nothing.
    """
    async with uow() as tx:
        rows = await tx.dead_letters.list(queue=queue, waiting_only=waiting_only, below=page.offset, limit=page.limit)
    shown = list(rows[: page.size])
    return shown, paging.token_of(shown[-1].dead_letter_id) if len(rows) > page.size else ""


async def get_letter(*, dead_letter_id: int, uow: Uow) -> DeadLetter:
    """Return a letter whole; raise `NotFound`."""
    async with uow() as tx:
        return await tx.dead_letters.get(dead_letter_id)


async def replay(*, dead_letter_ids: Collection[int], queue: str, by: str, now: datetime, uow: Uow) -> int:
    """Send letters again, in the order in which they died; return how many.

    Raises:
        Invalid: neither letters nor a queue are named, or both.
        NotFound: a letter that is named is not there; nothing is sent.
        Conflict: of a letter that is named only the beginning is kept; nothing is sent.

    """
    _require_one(dead_letter_ids, queue)
    async with uow() as tx:
        if queue:
            ids: Collection[int] = await tx.dead_letters.lock_waiting(queue)
        else:
            ids = await tx.dead_letters.lock(dead_letter_ids)
            for dead_letter_id in dead_letter_ids:
                if dead_letter_id not in ids:
                    raise NotFound("dead letter", dead_letter_id)
                if ids[dead_letter_id]:
                    raise Conflict(f"only the beginning of dead letter {dead_letter_id} is kept; it can be purged")
        if ids:
            await tx.dead_letters.replay(ids, by=by, now=now)
        await tx.commit()
    log.info("dead_letters_replayed", queue=queue, count=len(ids), by=by)
    return len(ids)


async def purge(*, dead_letter_ids: Collection[int], queue: str, by: str, uow: Uow) -> int:
    """Delete letters, replayed or not; return how many there were. Raise `Invalid` unless one of the two is named."""
    _require_one(dead_letter_ids, queue)
    async with uow() as tx:
        count = await tx.dead_letters.purge(dead_letter_ids=dead_letter_ids, queue=queue)
        await tx.commit()
    log.info("dead_letters_purged", queue=queue, count=count, by=by)
    return count


def _require_one(dead_letter_ids: Collection[int], queue: str) -> None:
    if bool(dead_letter_ids) == bool(queue):
        raise Invalid([Problem("dead_letter_ids", "name either letters here, or a queue in `queue`")])
