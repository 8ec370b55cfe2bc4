"""The processor's spans: one for each report that comes with a trace, one for each message that goes out with one.

They tell how long a report took from its arrival to the end of its transaction, and a message until the broker had
confirmed it. Heartbeats have none. While traces are off, nothing is looked at.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manman.messages.status import SessionReported
from manman.tracing import parent_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from manman.bus.delivery import Delivery
    from manman.db.outbox import Unpublished
    from manman.tracing import Span, Tracer


@contextlib.contextmanager
def reports(tracer: Tracer, batch: Sequence[Delivery], messages: Sequence[object]) -> Iterator[Mapping[int, Span]]:
    """Give the spans of the reports in a batch that come with a trace, by index; they last as long as the block.

    The block is their transaction, which they share: it has a span in a trace of its own, linked with all of theirs.
    """
    traced = _with_parents(batch, messages) if tracer.is_on else {}
    if not traced:
        yield {}
        return
    transaction = tracer.span(
        "transaction of reports",
        attributes={"messaging.batch.message_count": len(batch)},
        links=[parent for _, parent in traced.values()],
    )
    spans = {
        index: tracer.span(
            "process report",
            parent=parent,
            kind="consumer",
            attributes={"manman.session_id": report.session_id, "manman.status": report.status},
            links=[transaction.traceparent or ""],
        )
        for index, (report, parent) in traced.items()
    }
    with _lasting([*spans.values(), transaction]):
        yield spans


def _with_parents(batch: Sequence[Delivery], messages: Sequence[object]) -> dict[int, tuple[SessionReported, str]]:
    return {
        index: (message, parent)
        for index, (delivery, message) in enumerate(zip(batch, messages, strict=True))
        if isinstance(message, SessionReported) and (parent := parent_in(delivery.headers)) is not None
    }


def sending(tracer: Tracer, rows: Sequence[Unpublished]) -> Mapping[int, Span]:
    """Return the spans of those of these messages that belong to a trace, by row; whoever sends them ends them.

    What became of each message, the outbox knows.
    """
    traced = [row for row in rows if row.trace is not None] if tracer.is_on else ()
    return {
        row.id: tracer.span(
            f"send {row.exchange}",
            parent=row.trace,
            kind="producer",
            attributes={
                "messaging.system": "rabbitmq",
                "messaging.destination.name": row.exchange,
                "messaging.rabbitmq.destination.routing_key": row.routing_key,
                "messaging.message.id": row.message_id,
            },
        )
        for row in traced
    }


@contextlib.contextmanager
def _lasting(spans: Collection[Span]) -> Iterator[None]:
    """End those that have not ended yet with the block, or with what it fails by."""
    try:
        yield
    except Exception as error:
        for span in spans:
            span.end(error)
        raise
    finally:
        for span in spans:
            span.end()
