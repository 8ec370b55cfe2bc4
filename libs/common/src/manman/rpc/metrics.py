"""What the answered calls of a process add up to, for Prometheus.

A chain counts nothing by itself: where nobody can ask for metrics, as in a wrapper, their library is not loaded.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

CALLS = Counter("manman_rpc_calls_total", "Calls answered, by gRPC or REST.", ["method", "code"])
CALL_SECONDS = Histogram("manman_rpc_seconds", "How long an answer took; streams are not in it.", ["method"])
OPEN_STREAMS = Gauge("manman_rpc_open_streams", "Streams being served.", ["method"])


class CallMetrics:
    """A `manman.rpc.chain.Meter`."""

    def began(self, method: MethodDescriptor) -> None:
        """Count a stream as open."""
        if method.server_streaming:
            OPEN_STREAMS.labels(method.full_name).inc()

    def ended(self, method: MethodDescriptor, code: str, seconds: float) -> None:
        """Count the call, and how long it took if it is one that was answered."""
        _calls_of(method, code).inc()
        if method.server_streaming:
            OPEN_STREAMS.labels(method.full_name).dec()
        elif code == "OK":
            _seconds_of(method).observe(seconds)


# Finding a child of a metric by its labels costs as much as counting: there are as many as methods and codes.
@functools.cache
def _seconds_of(method: MethodDescriptor) -> Histogram:
    return CALL_SECONDS.labels(method.full_name)


@functools.cache
def _calls_of(method: MethodDescriptor, code: str) -> Counter:
    return CALLS.labels(method.full_name, code)
