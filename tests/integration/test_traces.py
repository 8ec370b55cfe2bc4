"""A start is one trace: call, outbox, command, the report of the host, its transaction, and the event about it."""

import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from manman import tracing
from manman.messages import routing
from manman.messages.health import SessionInventoryItem
from manman_devstack.collector import Collector, SeenSpan, collector
from manman_devstack.control import by_rest
from manman_devstack.eventually import eventually
from manman_devstack.home import Home
from manman_devstack.onlooker import Onlooker, Seen
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost, scripted_host
from manman_devstack.stage import Database, Stage, Subscriber

CALL = "manman.v1.ManManAPI/StartSession"


class Started(NamedTuple):
    """A session, the traceparent that its command came with, and the span of the call."""

    session_id: int
    traceparent: str
    call: SeenSpan


@pytest.fixture(scope="module")
async def platform(devstack_home: Home) -> AsyncIterator[Platform]:
    endpoint = f"http://127.0.0.1:{devstack_home.port('collector')}"
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OUTBOX_POLL_SECONDS": "0.3"}
    async with Platform(parts=("api", "processor"), settings=settings) as started:
        yield started


@pytest.fixture(scope="module")
async def spans(platform: Platform, devstack_home: Home) -> AsyncIterator[Collector]:  # noqa: ARG001 - it comes first
    async with collector(devstack_home.port("collector")) as kept:
        yield kept


@pytest.fixture
async def host(platform: Platform, database: Database) -> AsyncIterator[ScriptedHost]:
    async with by_rest(platform.rest) as control, scripted_host(control, platform.amqp_url) as registered:

        async def is_online() -> None:
            row = await database.row("SELECT status FROM servers WHERE server_id = %s", registered.server_id)
            assert row["status"] == "online"

        await registered.beat()
        await eventually(is_online)
        yield registered


async def started(stage: Stage, host: ScriptedHost, onlooker: Onlooker, spans: Collector) -> Started:
    spans.spans.clear()
    session_id = await stage.start(await stage.deployment(host.server_id))
    command = await eventually(lambda: onlooker.expect(routing.host_commands_queue(host.server_id)))
    return Started(session_id, str(command.headers["traceparent"]), await only(spans, CALL))


async def event_of(subscriber: Subscriber, session_id: int) -> Seen:
    await eventually(lambda: subscriber.expect("manman.session.running", session_id=session_id))
    return subscriber.seen[-1]


async def only(spans: Collector, name: str, trace_id: str = "") -> SeenSpan:
    async def arrived() -> SeenSpan:
        return spans.only(name, trace_id=trace_id)

    return await eventually(arrived)


async def test_a_start_is_one_trace_from_the_call_to_the_message_that_a_subscriber_gets(
    stage: Stage, host: ScriptedHost, onlooker: Onlooker, subscriber: Subscriber, spans: Collector
) -> None:
    session_id, traceparent, call = await started(stage, host, onlooker, spans)
    sent = await only(spans, "send manman", call.trace_id)
    assert (call.service, call.parent) == ("manman-api", "")
    assert (sent.service, sent.parent) == ("manman-processor", call.span_id)
    assert sent.is_named_by(traceparent)

    with tracing.resume(traceparent):  # as a host does
        await host.report(session_id, "running")
        await host.beat([SessionInventoryItem(session_id=session_id, status="running")])
    event = await event_of(subscriber, session_id)
    report = await only(spans, "process report", call.trace_id)
    told = await only(spans, "send external", call.trace_id)
    assert report.parent == sent.span_id
    assert report.attributes == {"manman.session_id": session_id, "manman.status": "running"}
    assert told.parent == report.span_id
    assert told.is_named_by(event.headers["traceparent"])

    async def transaction() -> SeenSpan:
        (found,) = [one for one in spans.spans if one.span_id in report.links] or [None]
        assert found is not None
        return found

    shared = await eventually(transaction)
    assert (shared.name, shared.links) == ("transaction of reports", {sent.span_id})
    assert shared.trace_id != call.trace_id


async def test_a_trace_of_the_caller_goes_on(
    platform: Platform, stage: Stage, host: ScriptedHost, spans: Collector
) -> None:
    deployment = await stage.deployment(host.server_id)
    trace_id = uuid.uuid4().hex
    async with by_rest(platform.rest, headers={"traceparent": f"00-{trace_id}-{'c' * 16}-01"}) as control:
        await Stage(control).start(deployment)
    assert (await only(spans, CALL, trace_id)).parent == "c" * 16


async def test_reports_without_a_trace_and_heartbeats_have_no_spans(
    stage: Stage, host: ScriptedHost, onlooker: Onlooker, subscriber: Subscriber, spans: Collector
) -> None:
    session_id, _, _ = await started(stage, host, onlooker, spans)
    await host.report(session_id, "running")
    assert "traceparent" not in (await event_of(subscriber, session_id)).headers

    trace_id = uuid.uuid4().hex
    with tracing.resume(f"00-{trace_id}-{'e' * 16}-01"):
        await host.beat([SessionInventoryItem(session_id=session_id, status="running")])
        await host.report(session_id, "crashed", exit_code=1)
    crashed = await only(spans, "process report", trace_id)
    await only(spans, "send external", trace_id)
    assert crashed.attributes["manman.status"] == "crashed"
    assert {one.name for one in spans.spans if one.trace_id == trace_id} == {"process report", "send external"}


async def test_a_refused_report_has_a_failed_span(
    stage: Stage, host: ScriptedHost, onlooker: Onlooker, spans: Collector
) -> None:
    session_id, traceparent, call = await started(stage, host, onlooker, spans)
    with tracing.resume(traceparent):
        await host.report(session_id, "flying")
    report = await only(spans, "process report", call.trace_id)
    assert (report.has_failed, report.attributes["error.type"]) == (True, "Conflict")
