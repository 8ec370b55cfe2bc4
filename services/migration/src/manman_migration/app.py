"""Brings the schema up and down, and tells where it stands.

Safe to run twice and by several at once: a session advisory lock on the migration's own connection lets one work
while the others wait. A database that does not answer yet is waited for, with a limit.
"""

from __future__ import annotations

import io
import sys
import time
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import NullPool, create_engine, exc, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from manman_migration.settings import Settings

LOCK = 0x6D616E6D_6967
"""The advisory lock that one migration at a time holds."""

RETRY_S = 0.25


class Refused(Exception):  # noqa: N818 - it says what happened
    """The command could not be done; the text is for the operator."""


def upgrade(settings: Settings) -> str:
    """Bring the schema to the newest revision; say where it stood and stands."""
    with _locked(settings) as connection:
        before = _revision(connection)
        command.upgrade(_config(connection), "head")
        connection.commit()
        return f"the schema is at {_revision(connection)} (it was at {before})"


def downgrade(settings: Settings) -> str:
    """Drop the schema, with all data in it."""
    with _locked(settings) as connection:
        before = _revision(connection)
        command.downgrade(_config(connection), "base")
        connection.commit()
        return f"the schema is at {_revision(connection)} (it was at {before})"


def current(settings: Settings) -> str:
    """Say which revision the database has."""
    with _connected(settings) as connection:
        return _revision(connection)


def check(settings: Settings) -> str:
    """Say that the schema is what the code expects; raise `Refused` with the differences."""
    with _connected(settings) as connection:
        config = _config(connection)
        found, newest = _revision(connection), ScriptDirectory.from_config(config).get_current_head()
        if found != newest:
            raise Refused(f"the schema is at {found}, the code needs {newest}; run upgrade")
        try:
            command.check(config)
        except CommandError as error:
            raise Refused(f"the schema is not what the code expects: {error}") from error
        return f"the schema is at {found} and is what the code expects"


COMMANDS: dict[str, Callable[[Settings], str]] = {
    "upgrade": upgrade,
    "downgrade": downgrade,
    "current": current,
    "check": check,
}


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    """Give a connection, waiting for a database that is still starting."""
    timeout_ms = int(settings.migration_lock_timeout_seconds * 1000)
    engine = create_engine(
        settings.sqlalchemy_url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": settings.db_connect_timeout_seconds,
            "options": f"-c lock_timeout={timeout_ms} -c timezone=UTC",
            "application_name": "manman-migration",
        },
    )
    try:
        with _first_connection(engine, settings.migration_wait_seconds) as connection:
            yield connection
    except (exc.DBAPIError, psycopg.Error) as error:  # the revision's own statements go straight to the driver
        raise Refused(f"the database refused: {_first_line(error)}") from error


def _first_connection(engine: Engine, wait_s: float) -> Connection:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return engine.connect()
        except exc.OperationalError as error:
            if time.monotonic() >= deadline:
                raise Refused(f"the database does not answer: {_first_line(error)}") from error
            if not told:
                sys.stderr.write(f"waiting at most {wait_s:g} s for the database: {_first_line(error)}\n")
                told = True
            time.sleep(RETRY_S)


@contextmanager
def _locked(settings: Settings) -> Iterator[Connection]:
    """Give a connection that holds the migration lock; the lock goes with the connection, whatever happens."""
    with _connected(settings) as connection:
        deadline = time.monotonic() + settings.migration_wait_seconds
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
            connection.rollback()
            if time.monotonic() >= deadline:
                raise Refused("another migration is running and does not end; look at it, then try again")
            time.sleep(RETRY_S)
        connection.commit()
        yield connection


def _config(connection: Connection) -> Config:
    config = Config(stdout=io.StringIO())  # what there is to say, the functions above return
    package = files("manman_migration")
    config.set_main_option("script_location", str(package))
    config.set_main_option("version_locations", str(package / "versions"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str:
    found = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return found or "nothing"


def _first_line(error: exc.DBAPIError | psycopg.Error) -> str:
    lines = str(error.orig if isinstance(error, exc.DBAPIError) else error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
