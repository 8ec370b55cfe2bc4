"""A *trace*: what one call, or one thing that happened on a host, led to in all processes, told as spans.

    async with tracing.traced(settings, "processor") as tracer:     # in app.py, which passes it on
        with tracer.span("send external", parent=row.trace) as span:
            ...                                                     # span.traceparent goes into the message's header

A *span* is a piece of work of one process: its name, how long it took, what it was about, whether it failed. What leads
from one to the next is its W3C `traceparent`, a short text that travels in the metadata of a call, in a header of a
message, and with a message that waits in the outbox. Within a process `current` is that of the span in which a task
works; tasks that it starts inherit it.

Off unless a collector is named. Then there are no spans, nothing is read, kept or sent for them, and no module of
OpenTelemetry is imported.

Not here: how spans get to a collector (`manman.otlp`); numbers and words (metrics, `manman.logs`). Nothing may depend
on a span: one that a collector does not get is lost.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from manman.settings import TracingSettings

TRACEPARENT = "traceparent"
"""The header of messages and the key of metadata, as W3C Trace Context names it."""

Attributes: TypeAlias = "Mapping[str, str | int]"
Kind: TypeAlias = Literal["internal", "server", "producer", "consumer"]
"""Which side of a call or message a span is about."""

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current() -> str | None:
    """Return the traceparent of the span in which this task works; None outside of spans."""
    return _current.get()


@contextlib.contextmanager
def resume(traceparent: str | None) -> Iterator[None]:
    """Work in the block as part of a span that was made elsewhere, or of none."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


def carried(headers: Mapping[str, str | int] | None, traceparent: str | None) -> Mapping[str, str | int] | None:
    """Return the headers of a message that comes from this span, or from none."""
    return headers if traceparent is None else {**(headers or {}), TRACEPARENT: traceparent}


def parent_in(headers: Mapping[str, object]) -> str | None:
    """Return the traceparent among the headers of a message or the metadata of a call, as it came."""
    said = headers.get(TRACEPARENT)
    return said if isinstance(said, str) else None


class Recording(Protocol):
    """One span that is recorded."""

    @property
    def traceparent(self) -> str:
        """What others name as their parent."""
        ...

    def end(self, failure: str | None) -> None:
        """End it; `failure` is a word for why it failed."""
        ...


class Recorder(Protocol):
    """Makes spans and gets them to where somebody looks at them."""

    def start(
        self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes | None, links: Iterable[str]
    ) -> Recording:
        """Begin a span now; a parent that is no traceparent counts as none."""
        ...


class Span:
    """A piece of work. As a context manager it is current in the block and ends with it; or call `end`."""

    __slots__ = ("_recording", "_token", "traceparent")

    def __init__(self, recording: Recording | None) -> None:
        """Without a recording it does nothing."""
        self._recording = recording
        self._token: Token[str | None] | None = None
        self.traceparent = None if recording is None else recording.traceparent

    def end(self, error: BaseException | None = None) -> None:
        """End it; with the error by which the work failed. Ending it again changes nothing."""
        if self._recording is not None:
            recording, self._recording = self._recording, None
            recording.end(None if error is None else type(error).__name__)

    def __enter__(self) -> Self:
        """Begin to work in it."""
        if self._recording is not None:
            self._token = _current.set(self.traceparent)
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        """End it."""
        if self._token is not None:
            _current.reset(self._token)
            self._token = None
            self.end(error)


_NO_SPAN = Span(None)


class Tracer:
    """Makes the spans of one process; without a recorder it makes none."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        """Have spans recorded by `recorder`."""
        self._recorder = recorder
        self.is_on = recorder is not None

    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        links: Iterable[str] = (),
    ) -> Span:
        """Begin a span, the first of a trace without a `parent`.

        `name` has no ids in it, so that spans can be counted by it; those belong into `attributes`. `links` are other
        spans that it has to do with.
        """
        if self._recorder is None:
            return _NO_SPAN
        return Span(self._recorder.start(name, parent=parent, kind=kind, attributes=attributes, links=links))


OFF = Tracer()


@contextlib.asynccontextmanager
async def traced(settings: TracingSettings, service: str) -> AsyncIterator[Tracer]:
    """Give the tracer of this process; at the block's end what it recorded is sent, for a few seconds at most."""
    if not settings.traces_are_on:
        yield OFF
        return
    from manman import otlp  # noqa: PLC0415 - whoever does not trace does not load OpenTelemetry, half a second of it

    async with otlp.exporting(settings, service) as recorder:
        yield Tracer(recorder)
