"""The audit journal in the database. Its entries are transactions of their own: a call that fails leaves one too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from manman.db.unit_of_work import Uow
    from manman.rpc.audit import Entry

OUTCOMES_LOST = Counter("manman_audit_outcomes_lost_total", "Audit entries whose outcome could not be written.")


class DatabaseJournal:
    """A `manman.rpc.audit.Journal`."""

    def __init__(self, uow: Uow, now: Callable[[], datetime]) -> None:
        """Write through `uow`, with the time of `now`."""
        self._uow = uow
        self._now = now

    async def begin(self, entry: Entry) -> int:
        """Store the entry and return its id."""
        async with self._uow() as tx:
            entry_id = await tx.audit_log.begin(
                at=self._now(),
                subject=entry.subject,
                role=entry.role,
                rpc=entry.rpc,
                ids=entry.ids,
                request_id=entry.request_id,
            )
            await tx.commit()
        return entry_id

    async def end(self, number: int, code: str, ids: Mapping[str, str]) -> None:
        """Store how the call ended; out of time counts as lost too."""
        with OUTCOMES_LOST.count_exceptions(BaseException):
            async with self._uow() as tx:
                await tx.audit_log.end(number, code=code, ids=ids)
                await tx.commit()
