"""Leadership: of several processes that could do a job, one holds an advisory lock and does it.

The lock belongs to a connection of its own, outside the pool (a pooled one would keep the lock when it is given
back). The same connection can hear notifications. When it breaks, the lock is gone and so is the leadership.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from manman.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from manman.settings import DatabaseSettings

STANDBY_POLL_S = 2.0
"""How often a process that does not lead asks again."""

ANSWER_TIMEOUT_S = 10.0


class Leadership:
    """The lock, held, and an ear on one notification channel if there is one."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Take over a connection that holds the lock, and may listen."""
        self._connection = connection

    async def wait(self, timeout_s: float) -> None:
        """Return when a notification comes, or after `timeout_s`.

        Raises:
            Unavailable: the connection, and with it the leadership, is gone.

        """
        with _lost():
            heard = [notice async for notice in self._connection.notifies(timeout=timeout_s, stop_after=1)]
            if not heard:  # a connection that brings news is there
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._connection.execute("SELECT 1")


@asynccontextmanager
async def lead(
    settings: DatabaseSettings, *, lock: int, channel: str = "", standby: Callable[[], None] = lambda: None
) -> AsyncIterator[Leadership]:
    """Wait until the lock is ours, listen on `channel` if named, and give the leadership; the end of the block ends it.

    `standby` is called each time that another process turns out to have the lock.

    Raises:
        Unavailable: the database cannot be reached.

    """
    with _lost():
        connection = await psycopg.AsyncConnection.connect(
            settings.psycopg_url,
            autocommit=True,
            connect_timeout=settings.db_connect_timeout_seconds,
            application_name="manman-leader",
            keepalives_idle=5,
            keepalives_interval=5,
            keepalives_count=3,
        )
    async with connection:
        with _lost():
            while not await _try_lock(connection, lock):
                standby()
                await asyncio.sleep(STANDBY_POLL_S)
            if channel:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield Leadership(connection)


async def _try_lock(connection: psycopg.AsyncConnection[tuple[object, ...]], lock: int) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [lock])
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


@contextmanager
def _lost() -> Iterator[None]:
    """Turn a broken or silent connection into Unavailable."""
    try:
        yield
    except (psycopg.Error, TimeoutError, OSError) as error:
        raise Unavailable(f"the database is not available: {error}") from error
