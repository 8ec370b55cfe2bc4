"""Reads that stand alone: one statement each, outside of any transaction, for answers that nothing is decided from.

A *read* is a select of mapped classes and columns whose SQL is written once. It goes straight through the driver: no
BEGIN and ROLLBACK around it, no identity map, and SQLAlchemy's part of the work is done when the read is made
(docs/adr/0017). A class comes back as a named tuple with its columns, under the names of their attributes, and its
properties; for typing it is the class itself. It is good to read and cannot be changed. A class that an outer join
found no row for is None.

Rows that a handler decides from, locks or changes are those of a transaction (`manman.db.unit_of_work`).
"""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any, Generic, TypeVarTuple, cast

import psycopg
from sqlalchemy import event, exc, inspect
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg

from manman.db.pipeline import Pipeline
from manman.db.problems import translate
from manman.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from sqlalchemy import QueuePool, Select
    from sqlalchemy.ext.asyncio import AsyncEngine

    from manman.db.pipeline import Row

    Part = Callable[[Sequence[tuple[Any, ...]]], list[Any]]

Ts = TypeVarTuple("Ts")

_BUSY = "the database is busy: no free connection"
_DIALECT = PGDialectAsync_psycopg()  # type: ignore[no-untyped-call] # SQLAlchemy has no types there


class Read(Generic[*Ts]):
    """A select, as SQL. What differs from one run to the next are its named `bindparam`s."""

    def __init__(self, query: Select[*Ts]) -> None:
        """Write the SQL of `query`."""
        columns: list[Any] = []
        self._parts: list[Part] = []
        for item in query.column_descriptions:
            what = item["expr"]
            if item.get("entity") is what:
                attributes = _attributes_of(what)
                self._parts.append(_named(inspect(what).mapper.class_, attributes, start=len(columns)))
                columns += [getattr(what, name) for name in attributes]
            else:
                self._parts.append(_bare(len(columns)))
                columns.append(what)
        self._has_classes = len(self._parts) < len(columns)
        compiled = query.with_only_columns(*columns).compile(dialect=_DIALECT)
        self.sql = compiled.string
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def values(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the values of all parameters."""
        return {**self._fixed, **given}

    def rows(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[*Ts]]:
        """Return what the driver fetched in the shape that was selected."""
        if not self._has_classes:
            return cast("list[tuple[*Ts]]", rows)
        return cast("list[tuple[*Ts]]", list(zip(*[part(rows) for part in self._parts], strict=True)))


class Reader:
    """Runs reads on connections of its own, as many as the engine's pool keeps; they end with the engine.

    The pool's way of giving out a connection costs as much as a short read itself.
    """

    def __init__(self, engine: AsyncEngine, *, plans_once: bool = False) -> None:
        """Connect as `engine` does, when a connection is needed first; `plans_once` is `Pipeline.plan_once`."""
        pool = cast("QueuePool", engine.pool)
        self._engine = engine
        self._plans_once = plans_once
        self._wait_s = pool.timeout()
        self._places = asyncio.Semaphore(pool.size())
        self._idle: list[Pipeline] = []
        event.listen(engine.sync_engine, "engine_disposed", self._end)

    async def all(self, read: Read[*Ts], **values: Any) -> list[tuple[*Ts]]:  # noqa: ANN401 - column values
        """Return the rows; errors as `execute`."""
        return read.rows(await self.execute(read.sql, read.values(values)))

    async def execute(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """Run a statement of ours in the driver's spelling and return its rows; errors as `pipeline`."""
        async with self.pipeline() as pipeline:
            (rows,) = await pipeline.run((statement, values))
            return rows

    def pipeline(self) -> Loan:
        """Give a pipeline for a block, the one that was used last. One left in the middle of something is closed.

        The block raises:
            Unavailable: no connection to the database could be had, or it broke.

        """
        return Loan(self)

    async def first(self, read: Read[*Ts], **values: Any) -> tuple[*Ts] | None:  # noqa: ANN401 - the same
        """Return the first row, None when there is none; errors as `all`."""
        rows = await self.all(read, **values)
        return rows[0] if rows else None

    async def lend(self) -> Pipeline:
        """Return a pipeline when there is a place for it; for `Loan`."""
        if self._places.locked():
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._places.acquire()
            except TimeoutError as error:
                raise Unavailable(_BUSY) from error
        else:
            await self._places.acquire()
        try:
            return await self._pipeline()
        except BaseException:
            self._places.release()
            raise

    def take_back(self, pipeline: Pipeline) -> None:
        """Keep it for the next one, or close it if something is still going on."""
        self._places.release()
        if pipeline.is_idle:
            self._idle.append(pipeline)
        else:
            pipeline.close()

    async def _pipeline(self) -> Pipeline:
        while self._idle:
            pipeline = self._idle.pop()
            if not pipeline.was_ended():
                return pipeline
            pipeline.close()
        try:
            pooled = await self._engine.raw_connection()
        except exc.TimeoutError as error:
            raise Unavailable(_BUSY) from error
        opened: Any = pooled.driver_connection
        pooled.detach()
        pipeline = Pipeline(opened)
        if self._plans_once:
            try:
                await pipeline.plan_once()
            except BaseException:
                pipeline.close()
                raise
        return pipeline

    def _end(self, _engine: object) -> None:
        while self._idle:
            self._idle.pop().close()


class Loan:
    """A block in which one has a pipeline; a class, because it is entered for every read."""

    __slots__ = ("_pipeline", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pipeline: Pipeline | None = None

    async def __aenter__(self) -> Pipeline:
        try:
            self._pipeline = pipeline = await self._reader.lend()
        except psycopg.Error as error:
            raise (translate(error) or error) from error
        return pipeline

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._pipeline is not None:
            self._reader.take_back(self._pipeline)
            self._pipeline = None
        if isinstance(error, psycopg.Error):
            raise (translate(error) or error) from error


def _attributes_of(entity: Any) -> list[str]:  # noqa: ANN401 - a mapped class or an alias of one
    """Return the attributes that are columns, the primary key first: where it is NULL there is no row."""
    mapper = inspect(entity).mapper
    key = mapper.get_property_by_column(mapper.primary_key[0]).key
    return sorted(mapper.column_attrs.keys(), key=lambda name: name != key)


def _bare(index: int) -> Part:
    return lambda rows: [row[index] for row in rows]


def _named(entity: type, attributes: Sequence[str], *, start: int) -> Part:
    properties = {name: value for name, value in vars(entity).items() if isinstance(value, property)}
    fields = collections.namedtuple(entity.__name__, attributes)  # type: ignore[misc] # noqa: PYI024 - the table's
    make: Any = type(entity.__name__, (fields,), {"__slots__": (), **properties})
    span = slice(start, start + len(attributes))
    return lambda rows: [None if row[start] is None else make._make(row[span]) for row in rows]
