"""The engine: one pool of connections per process, made in the composition root and passed on.

Every error of the driver is translated here, by the engine's own hook, so no query needs a try of its own.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from manman.db.problems import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.engine import ExceptionContext

    from manman.settings import DatabaseSettings


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Return an engine on the database of `settings`. It connects at the first use; dispose it at the end."""
    timeout_ms = int(settings.db_statement_timeout_seconds * 1000)
    engine = create_async_engine(
        settings.sqlalchemy_url,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_pool_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": settings.db_connect_timeout_seconds,
            "options": f"-c statement_timeout={timeout_ms} -c timezone=UTC",
            "application_name": "manman",
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    event.listen(engine.sync_engine, "handle_error", _translate)
    return engine


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
    if context.is_pre_ping:  # the pool itself replaces a connection that died while idle
        return None
    return translate(context.original_exception)
