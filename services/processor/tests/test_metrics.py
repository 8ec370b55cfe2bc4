"""What the processor tells about itself as metrics."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import REGISTRY

from manman.domain.sessions import Status
from manman.identifiers import new_id
from manman.messages.external import HostEvent
from manman.messages.health import Heartbeat
from manman.messages.routing import external_host
from manman.messages.status import SessionReported
from manman_processor import census

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_hosts_and_sessions_are_counted_by_state_and_history_is_not(uow: Any, world: Any) -> None:
    await world.host("online")
    for status in (Status.RUNNING, Status.RUNNING, Status.LOST, Status.CRASHED):
        await world.session(status)

    await census.take(uow, NOW)

    assert (value("manman_servers", status="online"), value("manman_servers", status="offline")) == (1, 0)
    assert (value("manman_sessions", status="running"), value("manman_sessions", status="lost")) == (2, 1)
    assert REGISTRY.get_sample_value("manman_sessions", {"status": "crashed"}) is None


async def test_the_age_of_the_outbox_is_that_of_its_oldest_row_that_waits(uow: Any, database: Any) -> None:
    await census.take(uow, NOW)
    assert value("manman_outbox_oldest_seconds") == 0
    async with uow() as tx:
        event_id = new_id()
        body = HostEvent(server_id=1, status="online", event_id=event_id)
        tx.outbox.add_external(routing_key=external_host("online"), body=body, message_id=event_id)
        await tx.commit()
    (row,) = database.rows("SELECT created_at FROM outbox")

    await census.take(uow, row["created_at"] + timedelta(seconds=90))

    assert value("manman_outbox_oldest_seconds") == 90


async def test_reports_are_counted_by_type_and_outcome_with_the_size_and_age_of_their_batch(
    desk: Any, world: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    told = [
        ("manman_reports_total", {"type": "session", "outcome": "taken"}, 1),
        ("manman_reports_total", {"type": "session", "outcome": "refused"}, 1),
        ("manman_reports_total", {"type": "heartbeat", "outcome": "taken"}, 2),
        ("manman_report_batch_size_sum", {}, 4),
        ("manman_report_batch_size_count", {}, 1),
        ("manman_report_lag_seconds_sum", {}, 7),
        ("manman_session_transitions_total", {"before": "starting", "after": "running"}, 1),
    ]
    before = [value(name, **labels) for name, labels, _ in told]
    desk.wait(7)

    await desk.take(
        (
            f"status.session.{session_id}",
            SessionReported(session_id=session_id, status="running", occurred_at=NOW),
        ),
        ("status.session.999", SessionReported(session_id=999, status="running", occurred_at=NOW)),
        (f"health.host.{world.server_id}", Heartbeat(server_id=world.server_id)),
        (f"health.host.{world.server_id}", Heartbeat(server_id=world.server_id)),
    )

    rises = [value(name, **labels) - earlier for (name, labels, _), earlier in zip(told, before, strict=True)]
    assert rises == [rise for _, _, rise in told]
