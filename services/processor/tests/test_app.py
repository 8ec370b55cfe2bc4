import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aio_pika
import pytest

from manman import clock
from manman.background import running
from manman.bus.consumer import to_delivery
from manman.bus.topology import declare_event_queue
from manman.domain.sessions import Status
from manman.messages.codec import encode
from manman.messages.health import Heartbeat
from manman.messages.routing import PROCESSOR_EVENT_KEYS, PROCESSOR_EVENTS, dead_letter_queue
from manman.messages.status import SessionReported
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import amqp
from manman_processor import app
from manman_processor.dispatch import Dispatch
from manman_processor.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def probe(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


async def asked(port: int, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(probe, port, path)


class Outside:
    """What hosts and subscribers do, with a client that knows nothing of ours."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self.channel = channel
        self.events: list[aio_pika.abc.AbstractIncomingMessage] = []

    async def say(self, key: str, body: bytes) -> None:
        exchange = await self.channel.declare_exchange("manman", aio_pika.ExchangeType.TOPIC, durable=True)
        await exchange.publish(aio_pika.Message(body, message_id=f"test-{key}"), key)

    async def subscribe(self) -> None:
        exchange = await self.channel.declare_exchange("external", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await self.channel.declare_queue("subscriber", durable=True)
        await queue.bind(exchange, routing_key="manman.#")

    async def heard(self) -> list[str]:
        queue = await self.channel.get_queue("subscriber")
        while (message := await queue.get(fail=False, no_ack=True)) is not None:
            self.events.append(message)
        return [str(message.routing_key) for message in self.events]

    async def depth(self, queue: str) -> int:
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


@pytest.fixture
async def outside(amqp_url: str) -> AsyncIterator[Outside]:
    async with amqp(amqp_url) as connection:
        made = Outside(await connection.channel())
        await made.subscribe()
        yield made


Run = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run the processor inside the test, dead letters left where they are; give the port of its probes when ready."""

    @asynccontextmanager
    async def started(**changes: object) -> AsyncIterator[int]:
        port = free_port()
        here = {"health_check_port": port, "health_check_host": "127.0.0.1"}
        changed = settings.model_copy(update={**here, "components": ("events", "relay", "sweeps"), **changes})
        async with running(app.main(changed), "processor"):
            await eventually(lambda: _ready(port), timeout_s=30)
            yield port

    return started


async def _ready(port: int) -> bool:
    return (await asked(port, "/readyz"))[0] == 200


async def test_a_report_of_a_host_becomes_a_row_and_an_external_event(
    run: Run, world: Any, outside: Outside, database: Any
) -> None:
    session_id = await world.session()
    async with run():
        for status in ("starting", "running"):
            body = encode(SessionReported(session_id=session_id, status=status))
            await outside.say(f"status.session.{session_id}", body)
        await eventually(lambda: database.session(session_id)["status"] == "running")
        await eventually(lambda: _heard(outside, ["manman.session.running"]))


async def test_bad_messages_are_dead_lettered_and_the_queue_keeps_moving(
    run: Run, world: Any, outside: Outside, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    dead = dead_letter_queue(PROCESSOR_EVENTS)
    async with run() as port:
        await outside.say(f"status.session.{session_id}", b'{"session_id":')
        await outside.say("status.session.999", encode(SessionReported(session_id=999, status="running")))
        await outside.say(
            f"status.session.{session_id}", encode(SessionReported(session_id=session_id, status="exploded"))
        )
        await outside.say("health.moon.1", b"[]")
        await outside.say(
            f"status.session.{session_id}", encode(SessionReported(session_id=session_id, status="running"))
        )
        await eventually(lambda: database.session(session_id)["status"] == "running")
        await eventually(lambda: _depth(outside, dead, 4))
        _, metrics = await asked(port, "/metrics")
    reasons = []
    while (message := await (await outside.channel.get_queue(dead)).get(fail=False, no_ack=True)) is not None:
        reasons.append(message.headers["x-manman-reason"])
        assert message.headers["x-manman-error"]
    assert reasons == ["Invalid", "NotFound", "Conflict", "Invalid"]
    assert 'manman_reports_refused_total{reason="Conflict"}' in metrics
    assert await outside.depth(PROCESSOR_EVENTS) == 0


async def test_a_crash_between_commit_and_acknowledgement_gives_one_external_event(
    *, run: Run, world: Any, outside: Outside, broker: Any, uow: Any, database: Any, amqp_url: str
) -> None:
    session_id = await world.session(Status.STARTING)
    await declare_event_queue(broker, PROCESSOR_EVENTS, PROCESSOR_EVENT_KEYS)
    body = encode(SessionReported(session_id=session_id, status="running"))
    await outside.say(f"status.session.{session_id}", body)
    async with amqp(amqp_url) as doomed:
        queue = await (await doomed.channel()).get_queue(PROCESSOR_EVENTS)
        messages = queue.iterator()
        message = await anext(messages)
        results = await Dispatch(uow, inventory_grace_s=60).handle([to_delivery(message)])
        assert list(results) == [None]
    # the connection is gone without an acknowledgement: the broker delivers the message again
    assert database.session(session_id)["status"] == "running"
    async with run():
        await eventually(lambda: _heard(outside, ["manman.session.running"]))
        await outside.say("status.session.1", b"the last one")
        await eventually(lambda: _depth(outside, dead_letter_queue(PROCESSOR_EVENTS), 1))
        assert await outside.depth(PROCESSOR_EVENTS) == 0
    assert await outside.heard() == ["manman.session.running"]


async def test_a_silent_host_goes_stale_and_comes_back(run: Run, world: Any, outside: Outside, database: Any) -> None:
    await world.host("online", last_seen=clock.now())
    beat = encode(Heartbeat(server_id=world.server_id))
    async with run(stale_host_threshold_seconds=0.4, stale_host_check_interval_seconds=0.1):
        await eventually(lambda: database.server(world.server_id)["status"] == "offline")
        await outside.say(f"health.host.{world.server_id}", beat)
        await eventually(lambda: _heard_at_least(outside, ["manman.host.stale", "manman.host.online"]))


async def test_of_two_processes_one_sweeps_and_the_other_goes_on_when_it_ends(run: Run, database: Any) -> None:
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(run())
        (holder,) = await eventually(lambda: _sweepers(database))
        async with run():
            assert _sweepers(database) == [holder]
            await first.aclose()
            await eventually(lambda: _sweepers(database) not in ([], [holder]), timeout_s=5)


async def test_a_process_that_stands_by_does_not_wait_for_the_relay_of_the_other(run: Run) -> None:
    async with run():
        started = asyncio.get_running_loop().time()
        async with run():
            assert asyncio.get_running_loop().time() - started < app.DRAIN_FIRST_S


async def test_a_process_of_one_component_does_only_that(run: Run, world: Any, outside: Outside, database: Any) -> None:
    session_id = await world.session(Status.STARTING)
    async with run(components=("events",)):
        body = encode(SessionReported(session_id=session_id, status="running"))
        await outside.say(f"status.session.{session_id}", body)
        await eventually(lambda: database.session(session_id)["status"] == "running")
    assert await outside.heard() == []
    assert database.keys() == ["manman.session.running"]


@contextlib.contextmanager
def process(**variables: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "manman_processor"],
        env={**os.environ, **variables},  # noqa: TID251 - the program inherits ours
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


async def test_without_a_broker_it_lives_and_is_not_ready_and_stops_when_told(database_url: str) -> None:
    port = free_port()
    with process(
        PG_DATABASE_URL=database_url,
        RABBITMQ_URL=f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        HEALTH_CHECK_PORT=str(port),
    ) as started:
        await eventually(lambda: _answers(port, "/livez", 200), timeout_s=30)
        code, body = await asked(port, "/readyz")
        assert code == 503
        assert "broker" in json.loads(body)["problems"]
        started.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(started.wait, 20) == 0


async def test_it_stops_in_order_when_told(database_url: str, amqp_url: str) -> None:
    port = free_port()
    with process(PG_DATABASE_URL=database_url, RABBITMQ_URL=amqp_url, HEALTH_CHECK_PORT=str(port)) as started:
        await eventually(lambda: _answers(port, "/readyz", 200), timeout_s=30)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(started.wait, 20) == 0


@pytest.mark.parametrize(
    ("variables", "hint"),
    [
        ({"COMPONENTS": "events,magic"}, "magic"),
        ({"COMPONENTS": "sweeps"}, "events"),
        ({"STALE_HOST_THRESHOLD_SECONDS": "soon"}, "STALE_HOST_THRESHOLD_SECONDS"),
        ({"RABBITMQ_URL": "http://broker"}, "RABBITMQ_URL"),
    ],
)
def test_wrong_settings_are_named_and_nothing_starts(variables: dict[str, str], hint: str) -> None:
    with process(**variables) as started:
        output, _ = started.communicate(timeout=30)
    assert started.returncode == 2
    assert hint in output
    assert "Traceback" not in output


def _sweepers(database: Any) -> list[dict[str, object]]:
    query = (
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()"
        " WHERE locktype = 'advisory' AND granted AND objid = %s"
    )
    rows: list[dict[str, object]] = database.rows(query, app.SWEEPS_LOCK & 0xFFFFFFFF)
    return rows


async def _heard(outside: Outside, keys: list[str]) -> bool:
    return await outside.heard() == keys


async def _heard_at_least(outside: Outside, keys: list[str]) -> bool:
    return (await outside.heard())[: len(keys)] == keys


async def _depth(outside: Outside, queue: str, count: int) -> bool:
    return await outside.depth(queue) == count


async def _answers(port: int, path: str, code: int) -> bool:
    return (await asked(port, path))[0] == code
