"""A *pipeline* is a connection to the database over which statements go together: one round trip for all of a call.

It exists for statements that are written once and run all the time. The driver's own cursor makes a dozen objects for
each statement and registers the socket anew for each wait, which costs more than the statement (ADR 0029). Underneath
is the driver's low-level interface to libpq, with its adaptation of values. Statements are prepared at their first use.

Not here: which statements (the modules of the nouns), when a connection is opened and given back
(`manman.db.reading`), and what an error means (`manman.db.problems`).
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus

from manman.db.engine import was_ended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection
    from psycopg.pq.abc import PGresult

Row: TypeAlias = tuple[Any, ...]

Statement: TypeAlias = "tuple[str, Mapping[str, Any]]"
"""SQL in the driver's spelling, `%(name)s` for a value and `%%` for a percent sign, and its values."""

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>\w+)\)s|%)")
_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED})


class _Prepared:
    """A statement on the server: its name there, and what makes values of its rows."""

    def __init__(self, name: bytes, connection: AsyncConnection) -> None:
        self.name = name
        self._transformer = Transformer(connection)
        self._knows_columns = False

    def rows(self, result: PGresult) -> list[Row]:
        """Return the rows of an answer; its columns are always the same."""
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result, set_loaders=not self._knows_columns)
        self._knows_columns = True
        return self._transformer.load_rows(0, result.ntuples, tuple)


class Pipeline:
    """One connection, for one caller at a time."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Take over an open connection on which nothing is going on."""
        self.is_closed = False
        self._connection = connection
        self._pg = connection.pgconn
        self._pg.enter_pipeline_mode()
        self._transformer = Transformer(connection)
        self._prepared: dict[tuple[str, tuple[int, ...]], _Prepared] = {}
        self._results: list[PGresult] = []
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] | None = None
        self._is_full = False
        """Whether the socket takes no more at the moment."""
        self._socket = self._pg.socket
        self._loop.add_reader(self._socket, self._read)

    @property
    def is_idle(self) -> bool:
        """Whether the next caller can have it: it is open, and not in a transaction."""
        return not self.is_closed and self._pg.transaction_status == TransactionStatus.IDLE

    def was_ended(self) -> bool:
        """Tell whether the server has ended it while it was idle, even if nobody had the time to hear it."""
        return self.is_closed or was_ended(self._connection)

    async def plan_once(self) -> None:
        """Have statements planned once, for any values: for those that find their rows by key, one or a thousand."""
        await self.run(("SET plan_cache_mode = force_generic_plan", {}))

    async def run(self, *statements: Statement) -> list[list[Row]]:
        """Send statements, wait for all answers, and return the rows of each.

        After the first one that fails the others are not run. Whoever is cancelled meanwhile closes the connection;
        the database may finish what it has received.

        Raises:
            psycopg.Error: what the database says to the first one that failed, or that the connection was lost.

        """
        sent = [self._send(*statement) for statement in statements]
        self._pg.pipeline_sync()
        self._answered, self._results = self._loop.create_future(), []
        self._write()
        try:
            await self._answered
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answered = None
        return self._rows(sent)

    def close(self) -> None:
        """Close the connection."""
        if not self.is_closed:
            self.is_closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._pg.finish()

    def _send(self, statement: str, values: Mapping[str, Any]) -> tuple[_Prepared, bool]:
        """Put a statement into the buffer; return it, and whether it is prepared thereby."""
        query, transformer = _query(statement), self._transformer
        dumped = transformer.dump_sequence([_plain(values[name]) for name in query.names], query.formats)
        key = statement, tuple(transformer.types or ())
        prepared = self._prepared.get(key)
        is_new = prepared is None
        if prepared is None:
            prepared = self._prepared[key] = _Prepared(b"s%d" % len(self._prepared), self._connection)
            self._pg.send_prepare(prepared.name, query.sql, transformer.types)
        self._pg.send_query_prepared(prepared.name, dumped, transformer.formats, Format.BINARY)
        return prepared, is_new

    def _rows(self, sent: Sequence[tuple[_Prepared, bool]]) -> list[list[Row]]:
        """Return the rows of each statement."""
        results = iter(self._results)
        failure: PGresult | None = None
        answers: list[list[Row]] = []
        for prepared, is_new in sent:
            if is_new and (result := next(results)).status in _FAILED:
                failure = failure or result
                self._forget(prepared)
            result = next(results)
            if result.status in _FAILED:
                failure = failure or result
            answers.append(prepared.rows(result))
        self._results = []
        if failure is not None:
            raise error_from_result(failure)
        return answers

    def _forget(self, never: _Prepared) -> None:
        """Forget what was not prepared, because it failed or something before it did."""
        self._prepared = {key: prepared for key, prepared in self._prepared.items() if prepared is not never}

    def _write(self) -> None:
        """Send what is in the buffer; go on when the socket takes more."""
        try:
            is_left = self._pg.flush()
        except psycopg.OperationalError as error:
            self._lose(error)
            return
        if is_left and not self._is_full:
            self._loop.add_writer(self._socket, self._write)
        elif self._is_full and not is_left:
            self._loop.remove_writer(self._socket)
        self._is_full = bool(is_left)

    def _read(self) -> None:
        """Take what has arrived. To an idle connection the server says nothing but that it ends it."""
        try:
            self._pg.consume_input()
            while self._answered is not None and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:  # the end of one statement's results
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    self._end()
                    return
                self._results.append(result)
        except psycopg.OperationalError as error:
            self._lose(error)

    def _end(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _lose(self, error: psycopg.OperationalError) -> None:
        self.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


class _Query(NamedTuple):
    """A statement as the server wants it: numbered parameters, and which value each of them takes."""

    sql: bytes
    names: tuple[str, ...]
    formats: tuple[PyFormat, ...]


@functools.cache
def _query(statement: str) -> _Query:
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        name = match["name"]
        return "%" if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

    sql = _PLACEHOLDER.sub(numbered, statement)
    return _Query(sql.encode(), tuple(numbers), (PyFormat.AUTO,) * len(numbers))


def _plain(value: object) -> object:
    """Return numbers as text, which the server reads as what is wanted there.

    The driver would name a type by the size of the number, and the statement be prepared for each; and its way with
    lists takes longer than the statement.
    """
    if type(value) is int:
        return str(value)
    if type(value) is list and (not value or type(value[0]) is int):
        return f"{{{','.join(map(str, value))}}}"
    return value
