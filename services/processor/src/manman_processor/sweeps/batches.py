"""Deleting many rows without a long transaction: some at a time, each time in a transaction of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

BATCH = 5000
"""Rows deleted in one transaction."""

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from manman.db.unit_of_work import Transaction, Uow


async def delete_all(uow: Uow, delete: Callable[[Transaction], Awaitable[int]], *, batch: int = BATCH) -> int:
    """Have `delete` remove about `batch` rows at a time until it finds fewer; return how many there were."""
    total = 0
    while True:
        async with uow() as tx:
            deleted = await delete(tx)
            await tx.commit()
        total += deleted
        if deleted < batch:
            return total
