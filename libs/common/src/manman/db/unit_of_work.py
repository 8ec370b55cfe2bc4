"""The unit of work: one transaction, and in it one object per noun with the queries that somebody calls.

    async with uow() as tx:
        row = await tx.sessions.lock(session_id)
        ...
        await tx.commit()

Leaving without a commit rolls back. READ COMMITTED: whoever decides from a row locks it first. Locks are
`FOR NO KEY UPDATE`: a row below (its foreign key) can still be written, else the two would wait for each other. Rows
stay readable after the commit.

Where one statement is the whole answer no transaction is needed: `uow.reads` has those, by noun (`manman.db.reading`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from manman.db.actions import Actions
from manman.db.api_tokens import ApiTokenReads, ApiTokens
from manman.db.audit_log import AuditLog
from manman.db.batch import Batch
from manman.db.configs import Configs
from manman.db.configuration import Configuration
from manman.db.dead_letters import DeadLetters
from manman.db.deployments import Deployments
from manman.db.event_log import EventLog
from manman.db.games import Games
from manman.db.idempotency import IdempotencyKeys
from manman.db.outbox import OutboxRows, WaitingRows
from manman.db.ports import Ports
from manman.db.reading import Reader
from manman.db.restarts import Restarts
from manman.db.runs import RunReads, Runs
from manman.db.samples import SampleReads, Samples
from manman.db.servers import ServerReads, Servers
from manman.db.sessions import Sessions
from manman.db.volumes import Volumes
from manman.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine


class Transaction:
    """An open transaction: the nouns, and `commit`."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Open the nouns on one database session."""
        self._database_session = database_session
        self.servers = Servers(database_session)
        self.games = Games(database_session)
        self.configs = Configs(database_session)
        self.configuration = Configuration(database_session)
        self.volumes = Volumes(database_session)
        self.deployments = Deployments(database_session)
        self.ports = Ports(database_session)
        self.sessions = Sessions(database_session)
        self.runs = Runs(database_session)
        self.restarts = Restarts(database_session)
        self.actions = Actions(database_session)
        self.outbox = OutboxRows(database_session)
        self.dead_letters = DeadLetters(database_session, self.outbox)
        self.event_log = EventLog(database_session, self.outbox)
        self.api_tokens = ApiTokens(database_session)
        self.audit_log = AuditLog(database_session)
        self.idempotency_keys = IdempotencyKeys(database_session)
        self.samples = Samples(database_session)

    async def flush(self) -> None:
        """Send what was changed so far to the database, without committing: constraints speak now."""
        await self._database_session.flush()
        await self.outbox.write()

    async def refresh(self, row: object) -> None:
        """Flush, then read the row again: for columns that the database itself sets."""
        await self._database_session.flush()
        await self._database_session.refresh(row)

    async def commit(self) -> None:
        """Make everything of this transaction true at once, and wake the relay when there is a message in it."""
        await self.flush()
        await self._database_session.commit()


class Reads:
    """What can be read without a transaction, by noun."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self.api_tokens = ApiTokenReads(reader)
        self.servers = ServerReads(reader)
        self.runs = RunReads(reader)
        self.samples = SampleReads(reader)


class UnitOfWork:
    """Makes transactions on one engine; calling it gives the context manager."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Use the pool of `engine`."""
        self._make_session = async_sessionmaker(engine, expire_on_commit=False)
        reader = Reader(engine)
        self.reads = Reads(reader)
        self.waiting = WaitingRows(reader)
        self._for_batches = Reader(engine, plans_once=True)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Transaction]:
        """Open a transaction.

        Raises:
            Unavailable: no connection to the database could be had, or it broke.

        """
        try:
            async with self._make_session() as database_session:
                yield Transaction(database_session)
        except exc.TimeoutError as error:
            raise Unavailable("the database is busy: no free connection") from error

    def batch(self) -> Batch:
        """Return a transaction for rows by the hundred, which its block opens.

        The block raises:
            Unavailable: no connection to the database could be had, or it broke.

        """
        return Batch(self._for_batches)


Uow: TypeAlias = UnitOfWork
"""What handlers take."""
