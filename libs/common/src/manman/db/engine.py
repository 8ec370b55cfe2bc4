"""The engine: one pool of connections per process, made in the composition root and passed on.

Every error of the driver is translated here, by the engine's own hook, so no query needs a try of its own.
"""

from __future__ import annotations

import select
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import event, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from manman.db.problems import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection
    from sqlalchemy.engine import Connection, ExceptionContext

    from manman.settings import DatabaseSettings


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Return an engine on the database of `settings`. It connects at the first use; dispose it at the end.

    Every wait has a limit, and what goes beyond it is `Unavailable`: connecting, a free connection of the pool, a
    statement, a lock, and a transaction of ours that was forgotten.
    """
    engine = create_async_engine(
        settings.sqlalchemy_url,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_pool_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        json_deserializer=msgspec.json.decode,  # a fifth of the time of the standard library's
        connect_args={
            "autocommit": True,  # a statement alone is its own transaction; see `_begin`
            "connect_timeout": settings.db_connect_timeout_seconds,
            "options": _options(settings),
            "application_name": "manman",
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    event.listen(engine.sync_engine, "handle_error", _translate)
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "checkout", _refuse_what_was_ended)
    return engine


def _options(settings: DatabaseSettings) -> str:
    """Return what Postgres is told about each connection; times are in milliseconds, 0 would mean no limit."""
    limits_s = {
        "statement_timeout": settings.db_statement_timeout_seconds,
        "lock_timeout": settings.db_lock_timeout_seconds,
        "idle_in_transaction_session_timeout": settings.db_idle_transaction_timeout_seconds,
    }
    limits = (f"-c {name}={max(1, int(limit_s * 1000))}" for name, limit_s in limits_s.items())
    return " ".join([*limits, "-c timezone=UTC"])


@asynccontextmanager
async def connected(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """Give an engine and dispose it at the end."""
    engine = create_engine(settings)
    try:
        yield engine
    finally:
        await engine.dispose()


async def ping(engine: AsyncEngine) -> None:
    """Return when the database answers.

    Raises:
        Unavailable: it does not.

    """
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


def _translate(context: ExceptionContext) -> BaseException | None:
    return translate(context.original_exception)


def _begin(connection: Connection) -> None:
    """Open a transaction. The driver would do it before any statement; `manman.db.reading` wants none."""
    cursor = connection.connection.cursor()
    cursor.execute("BEGIN")
    cursor.close()


def was_ended(connection: AsyncConnection) -> bool:
    """Tell whether the server has ended an idle connection. Unlike a ping this asks nobody.

    A server says nothing to an idle connection but that it ends it (or, rarely, that its settings changed): only then
    is there something to read.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _refuse_what_was_ended(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - the adapter's type
    """Have the pool open its connections anew after the server ended them."""
    if was_ended(connection.driver_connection):
        raise exc.InvalidatePoolError
