"""Databases for tests: each a copy of a template that was migrated once.

The template's name carries a hash of the migrations, so that it serves every run until they change. Several runs, of
several people, may share one server: an advisory lock lets one of them make the template while the others wait.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from manman_devstack.home import REPOSITORY

# Any number that nobody else locks on the maintenance database.
_LOCK = 7_716_265_361_130_521


class MigrationError(RuntimeError):
    """The schema could not be brought to the newest version; the text is what the migration printed."""


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def fresh_database(url: str, template: str | None = None) -> Iterator[str]:
    """Make a database (a copy of the template, when one is named), give its URL, and drop it afterwards."""
    name = f"test_{secrets.token_hex(8)}"
    copy = sql.SQL("") if template is None else sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copy)
    try:
        yield with_database(url, name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def migrated_template(url: str) -> str:
    """Return the name of a migrated template database on this server, made now if it is not there."""
    name = f"manman_template_{_hash_of_migrations()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return name
        building = f"building_{secrets.token_hex(8)}"
        identifier = sql.Identifier(building)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            migrate(with_database(url, building))
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(identifier, sql.Identifier(name)))
        except BaseException:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
            raise
    return name


def migrate(url: str) -> None:
    """Bring the database to the newest schema, with the same program as in production."""
    result = subprocess.run(
        [sys.executable, "-m", "manman_migration", "upgrade"],
        env={**os.environ, "PG_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise MigrationError(f"`python -m manman_migration upgrade` failed:\n{result.stdout}{result.stderr}")


def _hash_of_migrations() -> str:
    digest = hashlib.sha256()
    folder = REPOSITORY / "services/migration/src"
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.sql")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
