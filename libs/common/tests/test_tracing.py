"""Spans reach a collector with the right parents, and a collector that does not do its part hurts nobody."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from manman import otlp, tracing
from manman.settings import TracingSettings
from manman_devstack.collector import Collector, collector
from manman_devstack.eventually import eventually

CALLER = f"00-{'a' * 32}-{'b' * 16}-01"
UNSAMPLED = f"00-{'a' * 32}-{'b' * 16}-00"


def settings(endpoint: str, **more: Any) -> TracingSettings:
    return TracingSettings(otel_exporter_otlp_endpoint=endpoint, **more)


def counted(outcome: str) -> float:
    return otlp.SPANS.labels(outcome)._value.get()


@pytest.fixture
async def kept() -> AsyncIterator[Collector]:
    async with collector() as served:
        yield served


async def test_spans_of_one_piece_of_work_are_a_trace_with_parents_and_have_arrived_when_the_process_ends(
    kept: Collector,
) -> None:
    async with tracing.traced(settings(kept.endpoint), "test") as tracer:
        with tracer.span("outer", attributes={"manman.session_id": 7}) as outer:
            assert tracing.current() == outer.traceparent
            with tracer.span("inner", parent=tracing.current()):
                pass
        assert tracing.current() is None
    first, second = kept.only("outer"), kept.only("inner")
    assert (first.service, first.parent, first.attributes) == ("manman-test", "", {"manman.session_id": 7})
    assert first.is_named_by(outer.traceparent)
    assert (second.trace_id, second.parent) == (first.trace_id, first.span_id)


async def test_work_that_fails_is_told_as_failed_by_its_error(kept: Collector) -> None:
    async with tracing.traced(settings(kept.endpoint), "test") as tracer:
        with pytest.raises(LookupError), tracer.span("broken"):
            raise LookupError("secret")
    span = kept.only("broken")
    assert span.has_failed
    assert span.attributes == {"error.type": "LookupError"}


async def test_a_trace_that_began_elsewhere_goes_on_as_it_began_whatever_the_ratio_here(kept: Collector) -> None:
    async with tracing.traced(settings(kept.endpoint, otel_traces_sampler_arg=0), "test") as tracer:
        with tracer.span("of a caller", parent=CALLER):
            pass
        with tracer.span("unsampled", parent=UNSAMPLED) as unsampled:
            pass
        with tracer.span("begun here") as begun:
            pass
        with tracer.span("linked", links=[UNSAMPLED, CALLER]):
            pass
    assert {(one.name, one.parent) for one in kept.spans} == {("of a caller", "b" * 16), ("linked", "")}
    assert [int(str(span.traceparent)[-2:], 16) & 1 for span in (unsampled, begun)] == [0, 0]


@pytest.mark.parametrize(
    "text",
    ["", "00", CALLER.upper(), f"ff{CALLER[2:]}", f"{CALLER}-more", f"00-{'0' * 32}-{'b' * 16}-01", "é" * 55],
)
async def test_a_parent_that_is_no_traceparent_counts_as_none(kept: Collector, text: str) -> None:
    async with tracing.traced(settings(kept.endpoint), "test") as tracer:
        with tracer.span("orphan", parent=text):
            pass
    assert kept.only("orphan").parent == ""


async def test_a_later_version_of_traceparent_is_understood(kept: Collector) -> None:
    async with tracing.traced(settings(kept.endpoint), "test") as tracer:
        with tracer.span("child", parent=f"01{CALLER[2:]}-more"):
            pass
    assert kept.only("child").parent == "b" * 16


async def test_a_collector_that_is_away_costs_its_spans_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    failed = counted("failed")
    async with tracing.traced(settings(f"http://127.0.0.1:{port}"), "test") as tracer:
        for _ in range(10):
            with tracer.span("lost"):
                pass
        started = time.monotonic()
    assert time.monotonic() - started < otlp.LAST_EXPORT_S + 2
    assert counted("failed") - failed == 10


class HangingCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans and never says so."""

    async def Export(self, _request: object, _context: object) -> None:
        await asyncio.Event().wait()


async def test_what_finds_the_queue_of_a_hanging_collector_full_is_dropped_and_counted() -> None:
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(HangingCollector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    before = {outcome: counted(outcome) for outcome in ("exported", "failed", "dropped")}
    count = otlp.MAX_WAITING + 2 * otlp.EXPORT_BATCH
    async with tracing.traced(settings(f"http://127.0.0.1:{port}"), "test") as tracer:
        for _ in range(count):
            with tracer.span("one of many"):
                pass
        started = time.monotonic()
    assert time.monotonic() - started < otlp.LAST_EXPORT_S + 2
    after = {outcome: counted(outcome) - value for outcome, value in before.items()}
    await server.stop(None)
    assert after["dropped"] > 0
    assert after["exported"] == 0
    assert after["failed"] + after["dropped"] == count


async def test_a_collector_that_comes_back_gets_what_happens_from_then_on(kept: Collector) -> None:
    async with tracing.traced(settings(kept.endpoint), "test") as tracer:
        with tracer.span("soon"):
            pass

        async def arrived() -> None:
            kept.only("soon")

        await eventually(arrived, timeout_s=10)  # without the end of the block


@pytest.mark.parametrize(
    "off",
    [
        {"otel_exporter_otlp_endpoint": ""},
        {"otel_exporter_otlp_endpoint": "http://localhost:4317", "otel_sdk_disabled": True},
        {"otel_exporter_otlp_endpoint": "http://localhost:4317", "otel_traces_disabled": True},
    ],
)
async def test_without_a_collector_or_switched_off_there_are_no_spans(off: dict[str, Any]) -> None:
    async with tracing.traced(TracingSettings(**off), "test") as tracer:
        assert not tracer.is_on
        with tracer.span("nothing", parent=CALLER) as span:
            assert (span.traceparent, tracing.current()) == (None, None)


PROGRAM = """
import asyncio, sys
from manman import tracing
from manman.settings import TracingSettings
import {modules}

async def main():
    async with tracing.traced(TracingSettings(), "test") as tracer:
        with tracer.span("nothing"):
            pass

asyncio.run(main())
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry.{of}".rstrip("."))))
"""


@pytest.mark.parametrize(
    ("modules", "of"),
    [
        ("manman_processor.app", ""),
        ("manman_host.app", ""),
        ("manman_wrapper.app", ""),
        ("manman_api.app", "sdk"),  # FastAPI brings the interface along, which does nothing by itself
        ("manman_api.app", "exporter"),
    ],
)
def test_a_process_without_traces_loads_nothing_of_opentelemetry(modules: str, of: str) -> None:
    program = PROGRAM.format(modules=modules, of=of)
    run = subprocess.run([sys.executable, "-c", program], env={}, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
