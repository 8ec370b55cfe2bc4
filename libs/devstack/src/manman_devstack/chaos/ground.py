"""The *ground* on which faults are done: a broker, a database and processors of its own, hosts that talk, a witness.

The hosts here are a list of messages: they report the lives of sessions, repeat what was not confirmed, and note in a
ledger what they said. The witness is a durable queue on the external exchange, read by a client that is not ours.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import sys
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil
import psycopg

from manman import clock
from manman_devstack import databases, postgres, rabbitmq, services
from manman_devstack.eventually import eventually
from manman_devstack.ledger import Host, Ledger, Run
from manman_devstack.onlooker import AWAY, Onlooker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from manman_devstack.daemons import Daemon
    from manman_devstack.home import Home
    from manman_devstack.postgres import PrivatePostgres
    from manman_devstack.rabbitmq import PrivateRabbitmq

LIFE = ("starting", "running", "stopping", "crashed")
EVENTS = "processor-events"
SETTLED_S = 6.0
"""A quorum queue of RabbitMQ 3.10 does not survive a kill right after it was declared: a fault of the broker."""

SETTINGS = {
    "STALE_HOST_THRESHOLD_SECONDS": "3600",
    "OUTBOX_POLL_SECONDS": "0.3",
    "DEAD_LETTERS_KEEP": "1000000",
    "RABBITMQ_HEARTBEAT_SECONDS": "2",
    "HEALTH_CHECK_HOST": "127.0.0.1",
    "LOG_FORMAT": "json",
}
DEAD = "SELECT count(DISTINCT message_id) FROM dead_letters WHERE queue = %s"
LOCKS = """SELECT l.objid, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'manman-leader' ORDER BY l.objid"""


@dataclass
class Toll:
    """What one fault cost: reports said and said again, events, their copies, seconds until all was well again."""

    reports: int = 0
    repeats: int = 0
    events: int = 0
    copies: int = 0
    nonsense: int = 0
    recovery_s: float = 0.0
    growth_mb: float = 0.0


@dataclass
class Processor:
    """One processor as a process."""

    daemon: Daemon
    environment: dict[str, str]

    async def start(self) -> None:
        """Start it and return when it is ready, or has ended by itself."""
        await asyncio.to_thread(self.daemon.start)
        await eventually(lambda: asyncio.to_thread(self._ready_or_gone), timeout_s=60)

    async def kill(self) -> None:
        """End it at once."""
        await asyncio.to_thread(self.daemon.kill)

    @property
    def memory_mb(self) -> float:
        """How much memory it holds."""
        return float(psutil.Process(self.daemon.pid).memory_info().rss / 2**20)

    def _ready_or_gone(self) -> bool:
        return self.daemon.pid is None or services.is_ready(self.environment)


@dataclass
class Ground:
    """Everything that a fault needs. Use it with `async with`."""

    home: Home
    stack: ExitStack = field(default_factory=ExitStack)
    ledger: Ledger = field(default_factory=lambda: Ledger(clock.now()))
    toll: Toll = field(default_factory=Toll)
    told: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    expected_dead: int = 0
    declared_at: float = 0.0
    _next_seq: int = 0
    _boot: str = field(default_factory=lambda: str(uuid.uuid4()))

    server: PrivatePostgres = field(init=False)
    broker: PrivateRabbitmq = field(init=False)
    database_url: str = field(init=False)
    onlooker: Onlooker = field(init=False)
    processors: dict[str, Processor] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._prepare)
            self.onlooker = Onlooker(self.broker.url)
            await self.onlooker.subscribe("witness", "external", "manman.#")
        except BaseException:
            self.stack.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for daemon in (self.broker.daemon, *(one.daemon for one in self.processors.values())):
                print(f"--- {daemon.name}\n{daemon.last_lines(40)}", file=sys.stderr)
        await asyncio.to_thread(self.stack.close)

    def processor(self, name: str, *, sabotage: str = "", **settings: str) -> Processor:
        """Return the processor of that name, made when there is none; it may have to end itself (see `saboteur`)."""
        environment = {
            **SETTINGS,
            "PG_DATABASE_URL": self.database_url,
            "RABBITMQ_URL": self.broker.url,
            "HEALTH_CHECK_PORT": str(self.home.port(f"probes-{name}")),
            "SABOTAGE": sabotage,
            **settings,
        }
        daemon = services.daemon(self.home, "processor", environment, name=f"processor-{name}")
        if sabotage:
            command = [sys.executable, "-m", "manman_devstack.chaos.saboteur"]
            daemon = dataclasses.replace(daemon, command=command)
        if name not in self.processors:
            self.stack.callback(daemon.kill)
        self.processors[name] = Processor(daemon, environment)
        return self.processors[name]

    async def ready(self) -> Processor:
        """Bring everything to the usual: servers up, one processor consuming, a fresh toll; return the processor."""
        self.toll = Toll()
        usual = self.processors.get("a") or self.processor("a")
        await usual.start()
        await eventually(self.consumed, timeout_s=60)
        if not self.declared_at:
            self.declared_at = time.monotonic()
        return usual

    async def old_enough(self) -> None:
        """Return when the queue of reports is old enough to survive a kill of the broker."""
        await asyncio.sleep(max(0.0, self.declared_at + SETTLED_S - time.monotonic()))

    async def sessions(self, count: int) -> list[int]:
        """Record that many pending sessions, each of a deployment of its own, and return their ids."""
        async with await psycopg.AsyncConnection.connect(self.database_url) as connection:
            rows = await (await connection.execute(NEW_SESSIONS, [secrets.token_hex(6), count])).fetchall()
        host = self.ledger.hosts.setdefault(1, Host(1))
        for session_id, sgc_id, created_at in rows:
            self.ledger.runs[session_id] = Run(session_id, sgc_id, host, created_at, created_at)
        return [row[0] for row in rows]

    async def live(self, sessions: Sequence[int], *, lasts_s: float = 0.0) -> None:
        """Report a whole life of each session, some at a time, in about that time; unconfirmed is said again."""
        chunks = [(status, sessions[start : start + 10]) for status in LIFE for start in range(0, len(sessions), 10)]
        for status, chunk in chunks:
            await self.say([self.report(one, status) for one in chunk])
            await asyncio.sleep(lasts_s / len(chunks))

    def report(self, session_id: int, status: str) -> dict[str, Any]:
        """Return the next report of a host about a session, and note it in the ledger."""
        self._next_seq += 1
        said: dict[str, Any] = {"session_id": session_id, "status": status, "seq": self._next_seq}
        said |= {"host_boot_id": self._boot} | ({"exit_code": 9, "reason": "exited"} if status == "crashed" else {})
        self.ledger.now = clock.now()
        self.ledger.report(said)
        self.toll.reports += 1
        return said

    async def say(self, reports: Sequence[dict[str, Any]]) -> None:
        """Publish reports in order until the broker has confirmed them all."""
        await self.publish([(f"status.session.{said['session_id']}", json.dumps(said).encode()) for said in reports])

    async def publish(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        """Publish anything in order until the broker has confirmed it all; every message keeps its id."""
        messages = [(key, body, str(uuid.uuid4())) for key, body in bodies]
        while True:
            try:
                await self.onlooker.publish_all("manman", messages)
            except AWAY:
                self.toll.repeats += len(messages)
                await asyncio.sleep(0.2)
            else:
                return

    async def settled(self, since: float, *, timeout_s: float = 90.0) -> Toll:
        """Wait until everything is as it has to be; note the seconds since then, and return the toll."""
        await eventually(self.consumed, timeout_s=timeout_s)
        await eventually(self.is_right, timeout_s=timeout_s)
        self.toll.recovery_s = time.monotonic() - since
        self.toll.events = len(self.ledger.outbox)
        self.toll.copies = sum(map(len, self.told.values())) - self.toll.events
        for done in (self.ledger.outbox, self.ledger.runs, self.told):
            done.clear()
        return self.toll

    async def consumed(self) -> None:
        """Raise AssertionError unless the queue of reports has a consumer."""
        try:
            consumers = await self.onlooker.consumers(EVENTS)
        except AWAY as error:
            raise AssertionError(f"the broker is away: {error!r}") from error
        if not consumers:
            raise AssertionError("nobody consumes the reports")

    async def is_right(self) -> None:
        """Raise AssertionError unless rows equal the ledger, each change has its one event, and nothing is left."""
        try:
            await self._rows_are_right()
            await self._events_are_right()
            waiting = await self.onlooker.depth(EVENTS)
        except (psycopg.OperationalError, *AWAY) as error:
            raise AssertionError(f"the broker or the database is away: {error}") from error
        _expect(waiting, 0, "reports that wait")

    async def leaders(self) -> list[tuple[Any, ...]]:
        """Return which locks are held, and since when their holders are connected."""
        async with await psycopg.AsyncConnection.connect(self.database_url) as connection:
            return await (await connection.execute(LOCKS)).fetchall()

    async def _rows_are_right(self) -> None:
        query = "SELECT session_id, status, exit_code, status_reason FROM sessions WHERE session_id = ANY(%s)"
        async with await psycopg.AsyncConnection.connect(self.database_url, connect_timeout=2) as connection:
            rows = await (await connection.execute(query, [list(self.ledger.runs)])).fetchall()
            waiting = await (await connection.execute("SELECT id FROM outbox WHERE published_at IS NULL")).fetchall()
            dead = await (await connection.execute(DEAD, [EVENTS])).fetchone()
        right = {run.session_id: (run.status, run.exit_code, run.reason) for run in self.ledger.runs.values()}
        _expect([row for row in rows if right[row[0]] != row[1:]][:3], [], f"wrong sessions of {len(right)}")
        _expect(waiting[:3], [], "rows of the outbox that wait")
        _expect(dead, (self.expected_dead,), "dead letters")

    async def _events_are_right(self) -> None:
        for seen in await self.onlooker.take_all("witness"):
            body = json.loads(seen.body)
            _expect(seen.message_id, body["event_id"], "message id")
            self.told.setdefault(body["session_id"], []).append((body["event_id"], what(seen.routing_key, body)))
        right: dict[int, list[str]] = {session_id: [] for session_id in self.ledger.runs}
        for leaving in self.ledger.outbox:
            right[leaving.about].append(f"{leaving.detail} -> {leaving.key}")
        for session_id, changes in right.items():
            once = dict(self.told.get(session_id, []))  # copies have one id
            _expect(list(once.values()), changes, f"events of session {session_id}")

    def _prepare(self) -> None:
        name = secrets.token_hex(4)
        self.server = postgres.prepare(self.home, f"postgres-{name}")
        self.broker = rabbitmq.prepare(self.home, f"rabbitmq-{name}")
        self.stack.callback(self.broker.mapper.kill)
        for server in (self.server, self.broker):
            self.stack.callback(server.kill)
            server.start()
        template = databases.migrated_template(self.server.url)
        self.database_url = databases.with_database(self.server.url, template)


def what(key: str, body: dict[str, Any]) -> str:
    """Return which change an event is about."""
    return f"{body['previous_status']} -> {key}"


def _expect(found: object, right: object, of: str) -> None:
    if found != right:
        raise AssertionError(f"{of}: {found}, not {right}")


NEW_SESSIONS = """
WITH host AS (
    INSERT INTO servers (server_id, name, status, last_seen) VALUES (1, 'host', 'online', now())
    ON CONFLICT (server_id) DO UPDATE SET last_seen = now() RETURNING server_id
), game AS (
    INSERT INTO games (name) VALUES (%s) RETURNING game_id
), configs AS (
    INSERT INTO game_configs (game_id, name, image)
    SELECT game_id, number::text, 'image' FROM game, generate_series(1, %s) AS number RETURNING config_id
), deployed AS (
    INSERT INTO server_game_configs (server_id, game_config_id, status)
    SELECT server_id, config_id, 'active' FROM host, configs RETURNING sgc_id
)
INSERT INTO sessions (sgc_id) SELECT sgc_id FROM deployed RETURNING session_id, sgc_id, created_at
"""
