"""`make bench-api`: what calls of the API cost, beside the least that such calls can cost on the same machine.

The real api process on a private Postgres and RabbitMQ is measured in turns with the yardsticks (`bare`) and with a
list of 1,000 rows (`in_process`); the load comes from a process of its own (`load`). Every round measures every case,
so other load on the machine meets all of them; see `figures` for what becomes of the rounds.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from manman.v1 import servers_pb2, sessions_pb2
from manman_devstack import object_store, parts, vhosts
from manman_devstack.bench import bare, page, stock, workers
from manman_devstack.bench.figures import Case, Meter, Sample, ratio
from manman_devstack.bench.load import CALLERS, Outcome, Plan
from manman_devstack.databases import fresh_database, migrated_template
from manman_devstack.platform import Platform
from manman_devstack.stack import Infrastructure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manman_devstack.bench.workers import Worker

NAME = "bench-api"
ROUNDS = 6
SECONDS = 1.0
WARM_UP_SECONDS = 0.5

_RPC = "/manman.v1.ManManAPI/"
_PACKAGES = ("grpcio", "protobuf", "sqlalchemy", "psycopg", "fastapi", "uvicorn")


@dataclass(frozen=True)
class Subject:
    """What a case calls, and the process that answers it."""

    plan: Plan
    pid: int
    starts_sessions: bool = False


@dataclass(frozen=True)
class Found:
    """Everything that was measured: the cases by name, and the seconds of each list of 1,000 rows by protocol."""

    cases: dict[str, Case]
    lists_s: dict[str, list[float]]


@dataclass(frozen=True)
class Scene:
    """What runs during the measurement. `database_pid` is None where Postgres is not ours."""

    database_url: str
    database_pid: int | None
    stock: stock.Stock
    load: Worker
    lists: Worker
    subjects: dict[str, Subject]

    def measure(self) -> Found:
        """Let each case warm up, then go round."""
        found = Found({name: Case(name) for name in self.subjects}, {"grpc": [], "rest": []})
        for subject in self.subjects.values():
            self._sample(dataclasses.replace(subject, plan=dataclasses.replace(subject.plan, seconds=WARM_UP_SECONDS)))
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", flush=True)
            for name, subject in self.subjects.items():
                found.cases[name].samples.append(self._sample(subject))
            for protocol, seconds in self.lists.ask().items():
                found.lists_s[protocol].append(seconds)
        return found

    def _sample(self, subject: Subject) -> Sample:
        if subject.starts_sessions:
            stock.forget_starts(self.database_url)
        server = Meter(subject.pid)
        database = Meter(self.database_pid) if self.database_pid is not None else None
        server_before, database_before = server.seconds(), database.seconds() if database else 0.0
        outcome = Outcome(**self.load.ask(json.dumps(dataclasses.asdict(subject.plan))))
        return Sample(
            **dataclasses.asdict(outcome),
            server_cpu_s=server.seconds() - server_before,
            database_cpu_s=database.seconds() - database_before if database else None,
        )


def run() -> int:
    """Measure, print the result and write it into docs/performance.md."""
    began = time.monotonic()
    load_before, _, _ = os.getloadavg()
    found, postgres = asyncio.run(_measured())
    text = report(found, postgres, load_before)
    page.replace_section(NAME, text)
    print(f"\n{text}\n\nwritten to {page.PAGE.name} after {time.monotonic() - began:.0f} s")
    return 0


def report(found: Found, postgres: str, load_before: float) -> str:
    """Return the section of the page. `load_before` is the machine's load average without the benchmark."""
    figures = page.table(
        ("Call", "calls/s", "p50 ms", "p99 ms", "server CPU µs", "Postgres CPU µs"),
        [_row(case) for case in found.cases.values()],
    )
    goals = page.table(("Goal", "bar", "measured"), _goals(found))
    circumstances = page.circumstances(_PACKAGES, f"Postgres {postgres}")
    method = (
        f"{ROUNDS} rounds of {SECONDS:g} s a case, {CALLERS} callers; medians. "
        f"Other work on the machine, as its load average before: {load_before:.1f}."
    )
    return "\n\n".join([f"{circumstances} {method}", figures, goals])


def _row(case: Case) -> tuple[str, ...]:
    database = [sample.database_cpu_us for sample in case.samples if sample.database_cpu_us is not None]
    return (
        case.name,
        f"{case.median(lambda sample: sample.calls_per_s):,.0f}",
        f"{case.median(lambda sample: sample.p50_ms):.1f}",
        f"{case.median(lambda sample: sample.p99_ms):.1f}",
        f"{case.median(lambda sample: sample.cpu_us):,.0f}",
        f"{statistics.median(database):,.0f}" if database else "-",
    )


def _goals(found: Found) -> list[tuple[str, str, str]]:
    def cpu(name: str, number: int) -> float:
        return found.cases[name].samples[number].cpu_us

    def rest_without_database(number: int) -> float:
        return cpu(GET_REST, number) - (cpu(QUERY, number) - cpu(ECHO, number))

    read = ratio(lambda number: cpu(GET_GRPC, number), lambda number: cpu(ECHO, number), ROUNDS)
    rest = ratio(lambda number: cpu(PLAIN, number), rest_without_database, ROUNDS)
    lists_ms = {protocol: statistics.median(seconds) * 1e3 for protocol, seconds in found.lists_s.items()}
    return [
        ("point read by gRPC: server CPU ÷ echo's", "≤ 3 (aim 2.2)", f"{read:.2f}"),
        ("point read by REST, database apart: rate ÷ plain route's", "≥ 0.6", f"{rest:.2f}"),
        ("1,000 sessions by gRPC, in process: server CPU ms", "≤ 8", f"{lists_ms['grpc']:.1f}"),
        ("1,000 sessions by REST, in process: server CPU ms", "≤ 10", f"{lists_ms['rest']:.1f}"),
    ]


ECHO = "bare grpc.aio: echo"
QUERY = "bare grpc.aio: the host by psycopg"
PLAIN = "plain FastAPI route"
GET_GRPC = "GetServer, gRPC"
GET_REST = "GetServer, REST"


def _subjects(bare_worker: Worker, api: Platform, guarded: Platform, token: str, of: stock.Stock) -> dict[str, Subject]:
    addresses = bare_worker.hear()
    get = _encoded(servers_pb2.GetServerRequest(server_id=of.server_id).SerializeToString())
    pages = {size: _encoded(sessions_pb2.ListSessionsRequest(page_size=size).SerializeToString()) for size in (50, 100)}
    start_grpc = [
        _encoded(sessions_pb2.StartSessionRequest(server_game_config_id=sgc_id).SerializeToString())
        for sgc_id in of.deployment_ids
    ]
    start_rest = [_encoded(json.dumps({"server_game_config_id": sgc_id}).encode()) for sgc_id in of.deployment_ids]
    pid, rest = api.pid("api") or 0, api.rest.removeprefix("http://")

    def calibration(protocol: str, method: str) -> Subject:
        return Subject(Plan(addresses[protocol], method, [get if protocol == "grpc" else ""], SECONDS), bare_worker.pid)

    def by_grpc(method: str, *requests: str, starts_sessions: bool = False) -> Subject:
        return Subject(Plan(api.grpc, _RPC + method, list(requests), SECONDS), pid, starts_sessions)

    def by_rest(method: str, *bodies: str, starts_sessions: bool = False) -> Subject:
        return Subject(Plan(rest, method, list(bodies) or [""], SECONDS), pid, starts_sessions)

    return {
        ECHO: calibration("grpc", bare.ECHO),
        QUERY: calibration("grpc", bare.QUERY),
        PLAIN: calibration("rest", bare.PLAIN),
        GET_GRPC: by_grpc("GetServer", get),
        GET_REST: by_rest(f"GET /v1/servers/{of.server_id}"),
        "GetServer, gRPC, API token": Subject(
            Plan(guarded.grpc, _RPC + "GetServer", [get], SECONDS, token), guarded.pid("api") or 0
        ),
        "ListSessions (50), gRPC": by_grpc("ListSessions", pages[50]),
        "ListSessions (50), REST": by_rest("GET /v1/sessions?page_size=50"),
        "ListSessions (100), gRPC": by_grpc("ListSessions", pages[100]),
        "ListSessions (100), REST": by_rest("GET /v1/sessions?page_size=100"),
        "StartSession, gRPC": by_grpc("StartSession", *start_grpc, starts_sessions=True),
        "StartSession, REST": by_rest("POST /v1/sessions", *start_rest, starts_sessions=True),
    }


async def _measured() -> tuple[Found, str]:
    """Start everything, measure, end everything; the second value is the version of Postgres."""
    with contextlib.ExitStack() as around:
        home = parts.own_run_home()
        around.callback(parts.end_run, home)
        print("starting Postgres, RabbitMQ and the api", flush=True)
        infrastructure, database_pid = around.enter_context(_infrastructure())
        url = infrastructure.database_url
        filled = stock.fill(url)
        guard = {"GRPC_AUTH_MODE": "token"}
        async with (
            Platform(infrastructure, parts=("api",), home=home) as api,
            Platform(infrastructure, parts=("api",), settings=guard, home=home) as guarded,
        ):
            environment = {"PG_DATABASE_URL": url}
            bare_worker = around.enter_context(workers.started("bare", environment))
            subjects = _subjects(bare_worker, api, guarded, _token(url), filled)
            load = around.enter_context(workers.started("load"))
            lists = around.enter_context(workers.started("in_process", environment))
            found = Scene(url, database_pid, filled, load, lists, subjects).measure()
            return found, _version(url)


@contextlib.contextmanager
def _infrastructure() -> Iterator[tuple[Infrastructure, int | None]]:
    """Give what an api stands on, alone with it, and the process of Postgres where that is ours. No Docker engine."""
    home = parts.own_run_home()
    server, broker = parts.postgres(home), parts.rabbitmq(home)
    with (
        fresh_database(server.url, migrated_template(server.url)) as database_url,
        vhosts.fresh_vhost(broker.url, broker.management_url) as amqp_url,
        object_store.fresh_bucket(parts.object_store(home)) as store,
    ):
        pid = server.private.daemon.pid if server.private else None
        yield Infrastructure(database_url, amqp_url, store, docker_host=""), pid


def _token(database_url: str) -> str:
    command = [sys.executable, "-m", "manman_api", "create-token", "--name", NAME, "--role", "viewer"]
    environment = {**os.environ, "PG_DATABASE_URL": database_url}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def _version(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        return str(connection.info.server_version // 10_000)


def _encoded(request: bytes) -> str:
    return base64.b64encode(request).decode()
