"""What a host does belongs to the trace of who asked for it; what happens by itself begins one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manman import tracing
from manman.settings import TracingSettings
from manman_devstack.collector import Collector, SeenSpan, collector
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import World

START = f"00-{'a' * 32}-{'1' * 16}-01"
STOP = f"00-{'b' * 32}-{'2' * 16}-01"


pytestmark = pytest.mark.usefixtures("host_here")


@pytest.fixture
async def spans() -> AsyncIterator[Collector]:
    async with collector() as kept:
        yield kept


@pytest.fixture
async def tracer(spans: Collector) -> AsyncIterator[tracing.Tracer]:
    async with tracing.traced(TracingSettings(otel_exporter_otlp_endpoint=spans.endpoint), "host") as made:
        yield made


async def reports(spans: Collector, session_id: int, last: str) -> dict[str, SeenSpan]:
    """Wait for the span of the last report; return the first one of each status."""

    async def arrived() -> dict[str, SeenSpan]:
        told = [
            one for one in spans.spans if one.name == "report" and one.attributes["manman.session_id"] == session_id
        ]
        found = {str(one.attributes["manman.status"]): one for one in reversed(told)}
        assert last in found
        return found

    return await eventually(arrived)


async def test_a_start_goes_on_in_its_reports_and_a_crash_later_begins_a_trace(world: World, spans: Collector) -> None:
    with tracing.resume(START):
        await world.start(script="read line; exit 3")
    await world.reported("running")
    await world.type("go\n")
    await world.reported("crashed")
    told = await reports(spans, 1, "crashed")
    command = spans.only("process session.start")
    assert (command.service, command.trace_id, command.parent) == ("manman-host", "a" * 32, "1" * 16)
    assert {(told[status].trace_id, told[status].parent) for status in ("starting", "running")} == {
        (command.trace_id, command.span_id)
    }
    assert told["crashed"].parent == ""
    assert told["crashed"].trace_id != command.trace_id
    await world.clean()


async def test_a_stop_goes_on_in_the_reports_of_the_end(world: World, spans: Collector) -> None:
    with tracing.resume(START):
        await world.start(stop_command="quit", stop_timeout_seconds=10)
    await world.reported("running")
    with tracing.resume(STOP):
        await world.stop()
    await world.reported("stopped")
    told = await reports(spans, 1, "stopped")
    command = spans.only("process session.stop")
    assert command.parent == "2" * 16
    assert {(told[status].trace_id, told[status].parent) for status in ("stopping", "stopped")} == {
        ("b" * 32, command.span_id)
    }
    await world.clean()


async def test_a_start_that_fails_ends_in_its_own_trace(world: World, spans: Collector) -> None:
    with tracing.resume(START):
        await world.start(config={"image": "no.such/image:ever"})
    await world.reported("crashed")
    assert (await reports(spans, 1, "crashed"))["crashed"].trace_id == "a" * 32
