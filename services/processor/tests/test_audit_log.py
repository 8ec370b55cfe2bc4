"""The audit log does not grow for ever."""

from datetime import UTC, datetime, timedelta
from typing import Any

from manman_processor.sweeps import audit_log

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def test_entries_go_when_they_are_older_than_such_are_kept_however_many(uow: Any) -> None:
    async with uow() as tx:
        for number in range(audit_log.BATCH + 3):
            at = NOW - timedelta(days=10, seconds=1) if number else NOW - timedelta(days=10)
            await tx.audit_log.begin(at=at, subject="s", role="admin", rpc="r", ids={}, request_id="i")
        await tx.commit()

    assert await audit_log.sweep(uow, NOW, timedelta(days=10)) == audit_log.BATCH + 2
    assert await audit_log.sweep(uow, NOW, timedelta(days=10)) == 0
    async with uow() as tx:
        assert [row.entry_id for row in await tx.audit_log.list(limit=10)] == [1]
