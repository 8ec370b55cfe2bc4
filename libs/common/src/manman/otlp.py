"""Spans on their way to an OTLP collector: the only door to OpenTelemetry, loaded only where traces are on.

Ended spans wait in a queue for a thread that sends them by gRPC. What finds it full, or cannot be sent in time, is
counted and thrown away: whoever works never waits for a collector. The variables that OpenTelemetry's exporter reads by
itself work as it says (`OTEL_EXPORTER_OTLP_HEADERS`, `..._CERTIFICATE`, `OTEL_RESOURCE_ATTRIBUTES` and so on).

Which spans there are is the business of those who work (`manman.tracing`). Nothing is registered as OpenTelemetry's
global provider, so no library starts to trace by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from typing import TYPE_CHECKING

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from prometheus_client import Counter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span, Tracer, TraceState
    from opentelemetry.util.types import Attributes as SdkAttributes

    from manman.settings import TracingSettings
    from manman.tracing import Attributes, Kind

SPANS = Counter("manman_spans_total", "Spans that were recorded, by what became of them.", ["outcome"])

MAX_WAITING = 4096
"""Spans that wait to be sent; more are dropped."""

EXPORT_BATCH = 512
EXPORT_INTERVAL_S = 1.0
EXPORT_TIMEOUT_S = 5.0
LAST_EXPORT_S = 3.0
"""How long a process that ends tries to get rid of what it recorded."""

KNOWN_FLAGS = 0b11
"""Whether the trace is kept, and whether its id is random; others are reserved."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def exporting(settings: TracingSettings, service: str) -> AsyncIterator[SpanRecorder]:
    """Send what is recorded in the block to the collector that the settings name, as coming from `service`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # our own lines say it once
    export = _CountingExporter(
        OTLPSpanExporter(endpoint=settings.otel_exporter_otlp_endpoint, timeout=EXPORT_TIMEOUT_S),
        settings.otel_exporter_otlp_endpoint,
    )
    provider = TracerProvider(
        sampler=ParentBased(_BeginningSampler(settings.otel_traces_sampler_arg)),
        resource=Resource.create({"service.name": f"manman-{service}", "service.instance.id": str(uuid.uuid4())}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_BoundedProcessor(export))
    try:
        yield SpanRecorder(provider.get_tracer("manman"))
    finally:
        giving_up = asyncio.get_running_loop().call_later(LAST_EXPORT_S, export.give_up)
        await asyncio.to_thread(provider.shutdown)
        giving_up.cancel()


class SpanRecorder:
    """A `manman.tracing.Recorder` on OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        """Make spans with `tracer`."""
        self._tracer = tracer

    def start(
        self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes | None, links: Iterable[str]
    ) -> RecordedSpan:
        """Begin a span now; a parent that is no traceparent counts as none."""
        before = None if parent is None else _read(parent)
        context = Context() if before is None else set_span_in_context(NonRecordingSpan(before), Context())
        others = [Link(other) for link in links if (other := _read(link)) is not None]
        return RecordedSpan(
            self._tracer.start_span(name, context=context, kind=_KINDS[kind], attributes=attributes, links=others)
        )


class RecordedSpan:
    """A `manman.tracing.Recording` on OpenTelemetry; in a trace that is not kept it has a traceparent and no more."""

    def __init__(self, span: Span) -> None:
        """Be this span."""
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, failure: str | None) -> None:
        """End it; `failure` is a word for why it failed."""
        if failure is not None:
            self._span.set_attribute("error.type", failure)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _read(traceparent: str) -> SpanContext | None:
    """Return what a traceparent says; None for what is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (traceparent.startswith("00") and found[4]):
        return None
    context = SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & KNOWN_FLAGS),
    )
    return context if context.is_valid else None


class _BeginningSampler(Sampler):
    """Decides about spans with which a trace begins: by ratio, and always when a span has to do with a sampled one."""

    def __init__(self, ratio: float) -> None:
        self._by_ratio = TraceIdRatioBased(ratio)

    def should_sample(  # noqa: PLR0917 - the signature is OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: SdkAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        is_linked = any(link.context.trace_flags.sampled for link in links or ())
        sampler = ALWAYS_ON if is_linked else self._by_ratio
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"Beginning({self._by_ratio.get_description()})"


class _CountingExporter(SpanExporter):
    """Counts what became of spans, and says once that a collector is away. Its `export` runs on the sender's thread."""

    def __init__(self, exporter: OTLPSpanExporter, endpoint: str) -> None:
        self.taken = 0
        self._exporter = exporter
        self._endpoint = endpoint
        self._is_away = False
        self._is_given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:
            SPANS.labels("failed").inc(len(spans))
            raise
        failed = result is not SpanExportResult.SUCCESS
        SPANS.labels("failed" if failed else "exported").inc(len(spans))
        if failed and not self._is_away:
            log.warning("collector_away", endpoint=self._endpoint)
        elif self._is_away and not failed:
            log.info("collector_back", endpoint=self._endpoint)
        self._is_away = failed
        return result

    def give_up(self) -> None:
        """Fail what is being sent, and everything after it, at once."""
        if not self._is_given_up:
            self._is_given_up = True
            self._exporter.shutdown()

    def shutdown(self) -> None:
        self.give_up()


class _BoundedProcessor(BatchSpanProcessor):
    """Queues ended spans, and counts what finds the queue full."""

    def __init__(self, export: _CountingExporter) -> None:
        super().__init__(
            export,
            max_queue_size=MAX_WAITING,
            schedule_delay_millis=EXPORT_INTERVAL_S * 1000,
            max_export_batch_size=EXPORT_BATCH,
        )
        self._export = export
        self._given = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        # each number has one thread that writes it, so no lock is needed
        if self._given - self._export.taken >= MAX_WAITING:
            SPANS.labels("dropped").inc()
            return
        self._given += 1
        super().on_end(span)
