"""Any history of reports, heartbeats, sweeps and calls leaves exactly what the ledger says on record, and announces it.

Messages come in any order, again, late or never; time moves on in between. The handlers are the real ones, on a real
database; each example is a host or two of its own there. 2,000 examples, always the same ones. To look further, with
other ones each time: `.venv/bin/pytest tests/integration/test_any_history.py --hypothesis-seed=random`.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg import sql
from psycopg.rows import dict_row

from manman.bus.delivery import Delivery
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import Conflict, ManManError
from manman.settings import DatabaseSettings
from manman_api.handlers import deployments, sessions
from manman_devstack.ledger import ENDED, LIVE, TABLE, Host, Leaving, Ledger, Run
from manman_processor.dispatch import Dispatch
from manman_processor.sweeps import lost_sessions, overdue_sessions, stale_hosts

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EXAMPLES, EXAMPLES_WHEN_ASKED = 2_000, 50_000
STALE_S, GONE_S, GRACE_S, DEADLINE_S, THRESHOLD_S = 10.0, 300.0, 60.0, 30.0, 20.0
BOOTS = (None, str(UUID(int=1)), str(UUID(int=2)))

SESSIONS = """SELECT session_id, sgc_id, status, exit_code, status_reason, status_message, lost_reason, started_at,
    ended_at, coalesce(last_event_at, created_at) AS news_at, forced_stop_at, phase, progress_percent
    FROM sessions ORDER BY session_id"""
OUTBOX = "SELECT id, exchange, routing_key, session_id, body, message_id FROM outbox WHERE id > %s ORDER BY id"
BEGIN = """DELETE FROM sessions; DELETE FROM outbox; DELETE FROM log_stream_deletions;
    UPDATE servers SET status = 'online', last_seen = {now}, status_since = {long_ago}, features = '{{}}';
    INSERT INTO server_game_configs (sgc_id, server_id, game_config_id, status)
    VALUES (1, 1, 1, 'active'), (2, 1, 2, 'active'), (3, 2, 1, 'active') ON CONFLICT DO NOTHING"""
NEW_SESSIONS = """INSERT INTO sessions (sgc_id, status, created_at, last_event_at, started_at, ended_at, lost_reason)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
                         %s::timestamptz[], %s::text[]) RETURNING session_id"""
WORLD = """INSERT INTO servers (server_id, name) VALUES (1, 'one'), (2, 'other');
    INSERT INTO games (game_id, name) VALUES (1, 'game');
    INSERT INTO game_configs (config_id, game_id, name, image) VALUES (1, 1, 'one', 'i'), (2, 1, 'other', 'i')"""
PLACES = {1: 1, 2: 1, 3: 2}
"""Three deployments, and the hosts that they are on."""


@dataclass
class Bench:
    """The database, eyes on it, and the code under test, all in this process."""

    loop: asyncio.AbstractEventLoop
    eyes: psycopg.Connection[dict[str, Any]]
    uow: UnitOfWork

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    with (
        psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as eyes,
        asyncio.Runner() as runner,
        silence(),
    ):
        eyes.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(eyes.info.dbname)))
        eyes.execute(WORLD)
        engines = connected(DatabaseSettings(pg_database_url=database_url))  # type: ignore[arg-type] # pydantic converts
        engine = runner.run(engines.__aenter__())
        yield Bench(runner.get_loop(), eyes, UnitOfWork(engine))
        runner.run(engines.__aexit__(None, None, None))


@contextmanager
def silence() -> Iterator[None]:
    """Print nothing of what the handlers log: it would be all that one sees of a failure."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


which = st.integers(0, 5)
calls = st.sampled_from(("start", "start", "stop", "stop", "undeploy"))
pauses = st.sampled_from((0, 0, 1, 9, 10, 11, 29, 31, 60, 61, 119, 121, 181, 299, 301, 901))
reports = st.fixed_dictionaries(
    {"session": which, "status": st.sampled_from(("starting", "running", "stopping", "stopped", "crashed", "odd"))},
    optional={
        "exit_code": st.sampled_from((0, 1, 137)),
        "reason": st.sampled_from(("exited", "killed", "stop_failed")),
        "message": st.just("text"),
        "final_status": st.just("completed"),
        "numbered": st.sampled_from((1, 2)),
        "phase": st.sampled_from(("pull", "ready")),
        "progress": st.sampled_from((40, 140)),
        "happened_s_ago": st.sampled_from((-5, 1, 40, 5000)),
    },
)
listings = st.sampled_from(("starting pull", "running ", "running ready", "stopping ", "stopped ", "recovering "))
beats = st.fixed_dictionaries(
    {"host": st.integers(1, 2)},
    optional={
        "listed": st.dictionaries(which, listings),
        "running": st.integers(0, 2),
        "steady": st.booleans(),
    },
)
said_by_hosts = st.fixed_dictionaries({"self": st.sampled_from(("online", "offline")), "host": st.integers(1, 2)})
garbage = st.sampled_from((b"{", b"[]", b'{"session_id":"x"}'))
again = st.integers(0, 7)
words = st.lists(st.one_of(reports, reports, again, beats, said_by_hosts, garbage), min_size=1, max_size=6)


class History(RuleBasedStateMachine):
    """One history: two deployments on one host and one on another, and everything that happens to them."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(NOW)
        self.dispatch = Dispatch(self.bench.uow, inventory_grace_s=GRACE_S, now=lambda: self.ledger.now)
        self.sent: list[tuple[str, bytes, dict[str, Any] | None]] = []
        self.number = 10
        self.last_id = 0
        self.before: dict[int, dict[str, Any]] = {}
        self.places = dict(PLACES)

    @initialize(begun=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(sorted(TABLE))), min_size=1, max_size=4))
    def begin(self, begun: list[tuple[int, str]]) -> None:
        long_ago = NOW - timedelta(hours=1)
        self.bench.eyes.execute(sql.SQL(BEGIN).format(now=NOW, long_ago=long_ago))
        self.ledger.hosts = {server_id: Host(server_id, last_seen=NOW, since=long_ago) for server_id in (1, 2)}
        runs: list[Run] = []
        for sgc_id, status in begun:
            if status not in LIVE or not any(run.sgc_id == sgc_id and run.status in LIVE for run in runs):
                runs.append(self._begun(sgc_id, status))
        names = ("sgc_id", "status", "created_at", "news_at", "started_at", "ended_at", "lost_reason")
        columns = [[getattr(run, name) for run in runs] for name in names]
        for run, row in zip(runs, self.bench.eyes.execute(NEW_SESSIONS, columns), strict=True):
            run.session_id = row["session_id"]
            self.ledger.runs[run.session_id] = run

    def _begun(self, sgc_id: int, status: str) -> Run:
        host = self.ledger.hosts[PLACES[sgc_id]]
        run = Run(0, sgc_id, host, NOW - timedelta(seconds=1000), NOW - timedelta(seconds=100), status)
        run.started_at = None if status in ("pending", "starting") else NOW - timedelta(seconds=900)
        run.ended_at = None if status in LIVE else run.news_at
        run.lost_reason = "host_offline" if status == "lost" else None
        return run

    @rule(spoken=words, pause=pauses)
    def hear(self, spoken: list[Any], pause: int) -> None:
        """Take a batch of reports, some of which came before."""
        self._wait(pause)
        batch = [self._message(word) for word in spoken]
        batch = [message for message in batch if message is not None]
        if not batch:
            return
        self.sent.extend(batch)
        results = self.bench.run(self.dispatch.handle([delivery(key, body) for key, body, _ in batch]))
        last = {said["server_id"]: index for index, (_, _, said) in enumerate(batch) if said and "beat" in said}
        for index, (_, _, said) in enumerate(batch):
            if said is None:
                taken = False
            elif "beat" in said:
                of_many = index != last[said["server_id"]]  # only the last beat of a host in a batch counts
                taken = of_many or self.ledger.beat(said["server_id"], grace_s=GRACE_S, **said["beat"])
            elif "self" in said:
                taken = self.ledger.host_says(said["server_id"], said["self"])
            else:
                taken = self.ledger.report(said)
            assert (results[index] is None) == taken, (said, results[index])

    @rule(spoken=words, pause=pauses)
    def hear_more(self, spoken: list[Any], pause: int) -> None:
        """Do the same: it is what happens most."""
        self.hear(spoken, pause)

    @rule(what=calls, at=which, force=st.booleans(), pause=pauses)
    def call(self, what: str, at: int, force: bool, pause: int) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Call the API."""
        self._wait(pause)
        sgc_id, session_id = at % 3 + 1, self._pick(at)
        if what == "stop" and session_id is not None:
            self._stop(session_id, force=force)
        elif what == "start" and sgc_id in self.places:
            self._start(sgc_id, force=force)
        elif what == "undeploy" and sgc_id in self.places:
            self._undeploy(sgc_id)

    def _start(self, sgc_id: int, *, force: bool) -> None:
        now, uow, host = self.ledger.now, self.bench.uow, self.ledger.hosts[PLACES[sgc_id]]
        run = self._done(
            sessions.start_session(
                deployment_id=sgc_id, parameters={}, force=force, timeout_s=DEADLINE_S, now=now, uow=uow
            )
        )
        session_id = run.session_id if run else 0
        assert self.ledger.started(session_id, sgc_id, host, force=force, timeout_s=DEADLINE_S) == bool(run)

    def _stop(self, session_id: int, *, force: bool) -> None:
        now, uow = self.ledger.now, self.bench.uow
        assert self._done(sessions.stop_session(session_id=session_id, force=force, requested_by="", now=now, uow=uow))
        self.ledger.stop(session_id, force=force)

    def _undeploy(self, sgc_id: int) -> None:
        done = self._done(deployments.undeploy(deployment_id=sgc_id, uow=self.bench.uow))
        assert self.ledger.undeploy(sgc_id) == bool(done)
        if done:
            del self.places[sgc_id]

    @rule(name=st.sampled_from(("stale", "lost", "overdue", "threshold")), pause=pauses)
    def sweep(self, name: str, pause: int) -> None:
        self._wait(pause)
        now, uow, ledger = self.ledger.now, self.bench.uow, self.ledger
        match name:
            case "stale":
                self.bench.run(stale_hosts.sweep(uow, now, timedelta(seconds=STALE_S)))
                ledger.sweep_stale(STALE_S)
            case "lost":
                self.bench.run(lost_sessions.sweep(uow, now, timedelta(seconds=GONE_S)))
                ledger.sweep_lost(GONE_S)
            case _:
                threshold_s = THRESHOLD_S if name == "threshold" else None
                self.bench.run(overdue_sessions.sweep(uow, now, overdue_sessions.limits(threshold_s)))
                ledger.sweep_overdue(threshold_s)

    @invariant()
    def what_is_on_record_is_what_must_be(self) -> None:
        rows = {row["session_id"]: row for row in self.bench.eyes.execute(SESSIONS).fetchall()}
        assert {key: on_record(row) for key, row in rows.items()} == {
            key: must_be(run) for key, run in self.ledger.runs.items()
        }
        self._nothing_is_rewritten(rows)
        self.before = rows

    @invariant()
    def what_leaves_is_what_must_leave(self) -> None:
        rows = self.bench.eyes.execute(OUTBOX, [self.last_id]).fetchall()
        self.last_id = rows[-1]["id"] if rows else self.last_id
        assert [leaving(row) for row in rows] == self.ledger.outbox
        self.ledger.outbox.clear()

    def teardown(self) -> None:
        rows = self.bench.eyes.execute("SELECT server_id, status, last_seen FROM servers").fetchall()
        must_be = [(host.server_id, host.status, host.last_seen) for host in self.ledger.hosts.values()]
        assert not must_be or sorted(tuple(row.values()) for row in rows) == must_be

    def _nothing_is_rewritten(self, rows: dict[int, dict[str, Any]]) -> None:
        """Check, without the ledger, what may never happen whatever was said."""
        live = [row["sgc_id"] for row in rows.values() if row["status"] in LIVE]
        assert len(live) == len(set(live))
        for session_id, row in rows.items():
            assert (row["ended_at"] is None) == (row["status"] in LIVE)
            old = self.before.get(session_id)
            if old is None:
                continue
            assert old["started_at"] in (None, row["started_at"])
            if old["status"] in ENDED:
                assert (row["status"], row["ended_at"]) == (old["status"], old["ended_at"])
                for name in ("exit_code", "status_reason", "status_message"):
                    assert old[name] in (None, row[name])

    def _message(self, word: Any) -> tuple[str, bytes, dict[str, Any] | None] | None:
        """Return a message and what it says; None when it would be about nothing."""
        if isinstance(word, bytes):
            return "status.session.1", word, None
        if isinstance(word, int):
            return self.sent[-1 - word] if word < len(self.sent) else None
        if "session" in word:
            return self._report(word)
        server_id = word["host"]
        if "self" in word:
            said = {"server_id": server_id, "self": word["self"]}
            return f"status.host.{server_id}", encode(server_id=server_id, status=word["self"]), said
        return self._beat(server_id, word)

    def _report(self, word: dict[str, Any]) -> tuple[str, bytes, dict[str, Any]] | None:
        session_id = self._pick(word["session"])
        if session_id is None:
            return None
        said = {key: value for key, value in word.items() if key not in ("session", "numbered", "happened_s_ago")}
        said["session_id"] = session_id
        if "numbered" in word:
            self.number += 1
            said |= {"host_boot_id": BOOTS[word["numbered"]], "seq": self.number}
        sent = dict(said)
        if "happened_s_ago" in word:
            said["occurred_at"] = self.ledger.now - timedelta(seconds=word["happened_s_ago"])
            sent["occurred_at"] = said["occurred_at"].isoformat()
        return f"status.session.{session_id}", encode(**sent), said

    def _beat(self, server_id: int, word: dict[str, Any]) -> tuple[str, bytes, dict[str, Any]]:
        said: dict[str, Any] = {}
        sent: dict[str, Any] = {"server_id": server_id}
        if "listed" in word:
            picked = {self._pick(which): tuple(listing.split(" ")) for which, listing in word["listed"].items()}
            said["listed"] = {key: listing for key, listing in picked.items() if key is not None}
            sent["sessions"] = [
                {"session_id": key, "status": status, "phase": phase} for key, (status, phase) in said["listed"].items()
            ]
        if "running" in word:
            said["running"] = word["running"]
            sent["session_stats"] = {"running": word["running"]}
        if word.get("steady"):
            said["features"] = ("starting_heartbeat",)
            sent["features"] = ["starting_heartbeat"]
        return f"health.host.{server_id}", encode(**sent), {"server_id": server_id, "beat": said}

    def _pick(self, which: int) -> int | None:
        ids = sorted(self.ledger.runs)
        return ids[-1 - which % len(ids)] if ids else None

    def _done(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Return what the API answers, or False when it refuses."""
        try:
            return self.bench.run(call) or True
        except Conflict:
            return False
        except ManManError as error:
            raise AssertionError("only a conflict may be answered") from error

    def _wait(self, pause: int) -> None:
        self.ledger.now += timedelta(seconds=pause)


def encode(**body: Any) -> bytes:
    return json.dumps(body).encode()


def delivery(key: str, body: bytes) -> Delivery:
    return Delivery(
        routing_key=key, body=body, message_id=None, headers={}, correlation_id=None, reply_to=None, redelivered=False
    )


def on_record(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name != "session_id")


def must_be(run: Run) -> tuple[Any, ...]:
    times = run.started_at, run.ended_at, run.news_at, run.forced_at
    why = run.reason, run.message, run.lost_reason
    return run.sgc_id, run.status, run.exit_code, *why, *times, run.phase, run.progress


def leaving(row: dict[str, Any]) -> Leaving:
    body = json.loads(row["body"])
    if row["exchange"] == "external":
        assert body["event_id"] == str(row["message_id"])
        return Leaving(row["routing_key"], body.get("session_id", body["server_id"]), body["previous_status"])
    return Leaving(row["routing_key"], row["session_id"], str(body.get("force", False)))


@pytest.mark.timeout(3600)
def test_any_history_leaves_on_record_and_announces_what_the_ledger_says(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    asked = request.config.getoption("--hypothesis-seed") is not None

    class OnThisBench(History):
        pass

    OnThisBench.bench = bench
    run_state_machine_as_test(
        OnThisBench,
        settings=settings(
            max_examples=EXAMPLES_WHEN_ASKED if asked else EXAMPLES,
            stateful_step_count=5,
            derandomize=not asked,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
