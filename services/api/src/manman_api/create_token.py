"""Makes an API token without the API: `python -m manman_api create-token --name NAME --role ROLE [--days N]`.

For the first administrator of an installation; whoever reaches the database may. It prints the token, once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from manman import clock, service
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import ManManError
from manman.rpc.access import ROLES
from manman.rpc.audit import Entry
from manman.settings import DatabaseSettings
from manman_api.handlers import access
from manman_api.journal import DatabaseJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = "create-token"
MAX_NAME = 100
MAX_DAYS = 36500
SUBJECT = "command line"


def main(arguments: Sequence[str]) -> int:
    """Run the command with what follows its name; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m manman_api {COMMAND}", description=__doc__.split("\n")[0])
    parser.add_argument("--name", required=True, type=_name, help="what people call the token")
    parser.add_argument("--role", required=True, choices=tuple(ROLES), help="what its holder may do")
    parser.add_argument("--days", type=_days, help="how long it is worth something; without: for ever")
    options = parser.parse_args(arguments)
    settings = service.read_settings(DatabaseSettings)
    try:
        token = asyncio.run(_create(settings, options.name, options.role, options.days))
    except ManManError as error:
        sys.stderr.write(f"no token was made: {error}\n")
        return 1
    sys.stdout.write(f"{token}\n")
    return 0


async def _create(settings: DatabaseSettings, name: str, role: str, days: int | None) -> str:
    now = clock.now()
    expires_at = now + timedelta(days=days) if days is not None else None
    async with connected(settings) as engine:
        uow = UnitOfWork(engine)
        journal = DatabaseJournal(uow, clock.now)
        number = await journal.begin(Entry(SUBJECT, "admin", "AccessControl.CreateApiToken", {}, uuid.uuid4().hex))
        row, token = await access.create_token(name=name, role=role, expires_at=expires_at, now=now, uow=uow)
        await journal.end(number, "OK", {"token_id": str(row.token_id)})
    return token


def _name(text: str) -> str:
    if not 0 < len(text) <= MAX_NAME:
        raise argparse.ArgumentTypeError(f"it must have 1 to {MAX_NAME} characters")
    return text


def _days(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:9]) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1 to {MAX_DAYS}")
    return int(text)
