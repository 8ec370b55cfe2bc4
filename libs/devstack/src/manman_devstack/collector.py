"""An OTLP collector that keeps the spans it is sent, for tests to look at: the gRPC service, and nothing behind it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class SeenSpan:
    """A span as it came; ids in hex, `parent` empty for the first of a trace."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    has_failed: bool
    attributes: dict[str, str | int] = field(hash=False)
    links: frozenset[str]

    def is_named_by(self, traceparent: object) -> bool:
        """Tell whether a header names this span as the parent."""
        return str(traceparent).startswith(f"00-{self.trace_id}-{self.span_id}-")


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Everything that arrived, in the order of arrival."""

    endpoint: str = ""
    spans: list[SeenSpan] = field(default_factory=list)

    async def Export(  # noqa: N802 - the RPC's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, _context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep the spans."""
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            self.spans += [_seen(str(service), span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def only(self, name: str, *, trace_id: str = "") -> SeenSpan:
        """Return the only span of that name, in that trace or in all; AssertionError until it is there."""
        found = [one for one in self.spans if one.name == name and trace_id in (one.trace_id, "")]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are {name}; there are {[one.name for one in self.spans]}")
        return found[0]


@contextlib.asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """Serve on that port for the block, 0 picks one. Start no other process meanwhile: gRPC does not stand a fork."""
    server = grpc.aio.server()
    kept = Collector()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # it has no types
    add(kept, server)
    kept.endpoint = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield kept
    finally:
        await server.stop(None)


def _seen(service: str, span: trace_pb2.Span) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        has_failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_values(span.attributes),
        links=frozenset(link.span_id.hex() for link in span.links),
    )


def _values(attributes: Any) -> dict[str, str | int]:  # noqa: ANN401 - a container type of protobuf's own
    return {one.key: one.value.string_value or one.value.int_value for one in attributes}
