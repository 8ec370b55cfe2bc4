"""A log stream is old if, and only if, its session ended longer ago than streams are kept, or is deleted itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.bus.topology import delete_log_stream

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from manman.bus.connection import Connection
    from manman.db.unit_of_work import Uow


async def sweep(uow: Uow, connection: Connection, now: datetime, keep: timedelta) -> int:
    """Delete old log streams from the broker; return how many. Deleting one twice is nothing."""
    async with uow() as tx:
        rows = await tx.sessions.ended_with_stream(ended_before=now - keep)
        for row in rows:
            await delete_log_stream(connection, row.session_id)
            row.log_stream_deleted_at = now
        notes = await tx.sessions.deleted_with_stream()
        for note in notes:
            await delete_log_stream(connection, note.session_id)
            await tx.sessions.forget_stream(note)
        await tx.commit()
    return len(rows) + len(notes)
