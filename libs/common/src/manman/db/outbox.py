"""The outbox: messages that commit together with the change they announce.

What is added is written at the next flush or commit, which wakes the relay (`NOTIFY`, without payload); the relay's
poll is the truth.
Identity ids are not ordered by commit, so the relay always asks for *unpublished* rows, never for "greater than".
"""

from __future__ import annotations

from datetime import datetime
from itertools import starmap
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import CursorResult, delete, func, select, text, update

from manman import tracing
from manman.db.models import Outbox
from manman.db.models.pending import SETTLED, UNPUBLISHED
from manman.identifiers import new_id
from manman.messages import codec
from manman.messages.routing import EXCHANGE, EXTERNAL_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.pipeline import Row, Statement
    from manman.db.reading import Reader
    from manman.messages.body import Body

CHANNEL = "manman_outbox"
"""The NOTIFY channel."""

ONE_BY_ONE_MAX = 3
"""In a batch up to so many rows of a table are written by a statement each: to read a list in JSON and to join it costs
the database more than a second and a third one. For more rows, one statement for all is cheaper."""


class Added(msgspec.Struct, omit_defaults=True, gc=False):
    """A row to be written. `body` is text here, because JSON carries it into the database."""

    message_id: str
    exchange: str
    routing_key: str
    body: str
    mandatory: bool
    session_id: int | None
    expires_at: datetime | None
    sgc_id: int | None = None
    trace: str | None = None
    later: int = 0
    """How many events of the same deployment are written behind it together with it."""


class Unpublished(msgspec.Struct, gc=False):
    """A row that waits for the relay."""

    id: int
    message_id: str
    exchange: str
    routing_key: str
    body: bytes
    mandatory: bool
    session_id: int | None
    expires_at: datetime | None
    replay_of: str | None
    trace: str | None


_COUNT = """counted AS (
        INSERT INTO event_sequences AS s (sgc_id, newest)
        SELECT * FROM unnest(%(sgc_ids)s::bigint[], %(counts)s::bigint[])
        ON CONFLICT (sgc_id) DO UPDATE SET newest = s.newest + excluded.newest
        RETURNING sgc_id, newest
    )"""
"""An event about a deployment gets the next number of that deployment: in the order of commits, because whoever numbers
events of it holds its row until the commit. Nobody locks anything after that, and those rows in the order of their ids:
nobody waits in a circle."""
_INTO = "INSERT INTO outbox (message_id, exchange, routing_key, body, mandatory, session_id, expires_at, trace)"
_ADD = f"""{_INTO}
    SELECT message_id, exchange, routing_key, convert_to(CASE WHEN sgc_id IS NULL THEN body ELSE
            left(body, -1) || ',"sequence":' || newest - coalesce(later, 0) || '}}' END, 'UTF8'),
        mandatory, session_id, expires_at, trace
    FROM ROWS FROM (json_to_recordset(%(rows)s) AS (message_id uuid, exchange text, routing_key text, body text,
        mandatory boolean, session_id bigint, expires_at timestamptz, sgc_id bigint, trace text, later bigint)
    ) WITH ORDINALITY LEFT JOIN counted USING (sgc_id)
    ORDER BY ordinality"""  # noqa: S608 - names of ours
_WRITE_NUMBERED = f"""WITH counted AS (
        INSERT INTO event_sequences AS s (sgc_id, newest) VALUES (%(sgc_id)s::bigint, 1)
        ON CONFLICT (sgc_id) DO UPDATE SET newest = s.newest + 1 RETURNING newest
    )
    {_INTO}
    SELECT %(message_id)s::uuid, %(exchange)s::text, %(routing_key)s::text,
        convert_to(left(%(body)s::text, -1) || ',"sequence":' || newest || '}}', 'UTF8'),
        %(mandatory)s::boolean, %(session_id)s::bigint, %(expires_at)s::timestamptz, %(trace)s::text
    FROM counted"""  # noqa: S608 - the same
"""The same for a single event about a deployment."""
_WRITE = f"WITH {_COUNT} {_ADD}"
_WRITE_AND_WAKE = f"WITH {_COUNT}, added AS ({_ADD}) SELECT pg_notify('{CHANNEL}', '')"
_COLUMNS = "id, message_id::text, exchange, routing_key, body, mandatory, session_id, expires_at, replay_of, trace"
_UNPUBLISHED = f"""
    SELECT {_COLUMNS} FROM outbox WHERE published_at IS NULL AND failed_at IS NULL ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - names of ours
_OTHERS = f"""
    SELECT {_COLUMNS} FROM outbox WHERE published_at IS NULL AND failed_at IS NULL
        AND id NOT IN (SELECT unnest(%(in_flight)s::bigint[])) ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - the same
"""Looks each row up in a table made of the others: any other spelling compares each with each."""
_MARK = f"""
    UPDATE outbox SET published_at = %(now)s, position = n.position
    FROM (
        SELECT id, CASE WHEN exchange = '{EXTERNAL_EXCHANGE}' AND replay_of IS NULL
            THEN nextval('event_positions') END AS position
        FROM outbox WHERE id = ANY(%(published)s) AND published_at IS NULL ORDER BY id
    ) AS n
    WHERE outbox.id = n.id
"""  # noqa: S608 - the same
_DO_NOT_WAIT_FOR_THE_DISK: Statement = ("SELECT set_config('synchronous_commit', 'off', true)", {})
"""A mark that a crash of the database takes back costs a second copy of the message."""
_DEPTH = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND failed_at IS NULL"


class Look(msgspec.Struct, kw_only=True):
    """A look of the relay at the outbox: it reads what waits. It travels with the commit of a batch, or alone."""

    in_flight: list[int] = []
    """Rows that are already on their way: they wait, but are not to be read again."""
    limit: int = 0
    """Read at most so many rows, the oldest."""
    rows: list[Unpublished] | None = None
    """What was read, by id; None before it was made."""

    def statement(self) -> Statement:
        """Return what reads; in a batch it is the last statement before the commit."""
        if not self.in_flight:
            return _UNPUBLISHED, {"limit": self.limit}
        return _OTHERS, {"limit": self.limit, "in_flight": self.in_flight}

    def made(self, rows: Sequence[Row]) -> None:
        """Take what was read."""
        self.rows = [*starmap(Unpublished, rows)]


class WaitingRows:
    """The outbox as the relay sees it: each call is one round trip, and a transaction by itself."""

    def __init__(self, reader: Reader) -> None:
        """Go through `reader`."""
        self._reader = reader

    async def look(self, look: Look) -> list[Unpublished]:
        """Make a look by itself; return what was read."""
        look.made(await self._reader.execute(*look.statement()))
        return look.rows or []

    async def mark(self, published: Sequence[int], *, now: datetime) -> None:
        """Record that the broker confirmed these. Events get their places in the event log, in the order of ids."""
        async with self._reader.pipeline() as pipeline:
            await pipeline.run(_DO_NOT_WAIT_FOR_THE_DISK, (_MARK, {"published": list(published), "now": now}))

    async def depth(self) -> int:
        """Return how many rows wait."""
        ((count,),) = await self._reader.execute(_DEPTH, {})
        return int(count)


class Additions:
    """What one transaction adds to the outbox; it is written at its end."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._added: list[Added] = []

    def add_command(
        self,
        *,
        routing_key: str,
        body: Body,
        session_id: int | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Add a command to a host about `session_id`.

        When nobody can take it, or `expires_at` passes first, the row fails and with it a session that should start.
        Before a start command the relay declares the session's log stream.
        """
        body_text, trace = codec.encode(body).decode(), tracing.current()
        self._added.append(Added(new_id(), EXCHANGE, routing_key, body_text, True, session_id, expires_at, None, trace))

    def add_external(
        self,
        *,
        routing_key: str,
        body: Body,
        message_id: str,
        session_id: int | None = None,
        sgc_id: int | None = None,
    ) -> None:
        """Add an event for subscribers. `message_id` is the body's `event_id`. Nobody needs to listen.

        With `sgc_id` the body gets that deployment's next number as its `sequence` when it is written. The relay
        publishes to the exchange that its settings name; the row holds the default name.
        """
        body_text, trace = codec.encode(body).decode(), tracing.current()
        self._added.append(
            Added(message_id, EXTERNAL_EXCHANGE, routing_key, body_text, False, session_id, None, sgc_id, trace)
        )

    def take(self, *, wakes: bool = True) -> list[Statement]:
        """Return, once, what writes what was added and `wakes` the relay with the commit.

        Events of one deployment keep their order. Of several deployments, those written one by one go by deployment, in
        the order in which everybody locks their numbers.
        """
        added, self._added = self._added, []
        if not wakes and len(added) <= ONE_BY_ONE_MAX and all(one.sgc_id is not None for one in added):
            return [(_WRITE_NUMBERED, msgspec.structs.asdict(one)) for one in sorted(added, key=attrgetter("sgc_id"))]
        counts: dict[int, int] = {}
        for one in reversed(added):
            if one.sgc_id is not None:
                one.later = counts.get(one.sgc_id, 0)
                counts[one.sgc_id] = one.later + 1
        sgc_ids = sorted(counts)
        values = {
            "rows": msgspec.json.encode(added).decode(),
            "sgc_ids": sgc_ids,
            "counts": [counts[sgc_id] for sgc_id in sgc_ids],
        }
        return [(_WRITE_AND_WAKE if wakes else _WRITE, values)] if added else []


class OutboxRows(Additions):
    """The outbox within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        super().__init__()
        self._db = database_session

    async def write(self) -> None:
        """Write what was added."""
        for statement, values in self.take():
            await (await self._db.connection()).exec_driver_sql(statement, dict(values))

    async def wake(self) -> None:
        """Wake the relay with the commit, for rows that were not added here."""
        await self._db.execute(text(f"SELECT pg_notify('{CHANNEL}', '')"))

    async def unpublished(self, *, limit: int) -> list[Unpublished]:
        """Return the oldest rows that are neither published nor failed, by id."""
        result = await (await self._db.connection()).exec_driver_sql(_UNPUBLISHED, {"limit": limit})
        return [*starmap(Unpublished, result)]

    async def waiting_since(self) -> datetime | None:
        """Return when the oldest row that waits was added."""
        oldest = select(Outbox.created_at).where(text(UNPUBLISHED)).order_by(Outbox.id).limit(1)
        return await self._db.scalar(oldest)

    async def mark_failed(self, errors: Mapping[int, str], *, now: datetime) -> None:
        """Record that these can never be delivered, and why."""
        for row_id, error in errors.items():
            await self._db.execute(
                update(Outbox).where(Outbox.id == row_id).values(failed_at=now, error=error),
                execution_options={"synchronize_session": False},
            )

    async def delete_settled(self, *, before: datetime, limit: int = 5000) -> int:
        """Delete rows that were published or given up before `before`; return how many."""
        settled = func.coalesce(Outbox.published_at, Outbox.failed_at)
        old = select(Outbox.id).where(text(f"({SETTLED})"), settled < before).limit(limit)
        result = await self._db.execute(delete(Outbox).where(Outbox.id.in_(old)))
        return result.rowcount if isinstance(result, CursorResult) else 0
