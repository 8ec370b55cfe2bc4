"""Of the dead letters the newest are kept, so many and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, keep: int) -> int:
    """Delete all but the newest `keep`; return how many."""
    async with uow() as tx:
        count = await tx.dead_letters.delete_beyond(keep)
        await tx.commit()
    return count
