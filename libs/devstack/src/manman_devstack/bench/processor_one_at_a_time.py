"""The original's design in its shortest form: one report at a time. Yardstick of the processor's bench.

    python -m manman_devstack.bench.processor_one_at_a_time

Prefetch 1: read the row, see whether the change is allowed, update it (each statement its own transaction), publish the
external event, wait for its confirm, acknowledge. It has no outbox: what it does is less than the processor does.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import psycopg

from manman import clock
from manman.bus.connection import connect
from manman.bus.consumer import consume
from manman.bus.publisher import Publisher
from manman.bus.topology import event_queue
from manman.messages import routing
from manman.messages.codec import decode, encode
from manman.messages.external import SessionEvent
from manman.messages.status import SessionReported
from manman_processor.settings import Settings

if TYPE_CHECKING:
    from manman.bus.delivery import Delivery

ALLOWED = {"pending": {"running", "stopped"}, "running": {"stopped"}}
READ = "SELECT sgc_id, status FROM sessions WHERE session_id = %s"
UPDATE = """UPDATE sessions SET status = %(to)s::text, exit_code = %(exit_code)s, last_event_at = %(now)s,
    started_at = CASE WHEN %(to)s::text = 'running' THEN %(now)s ELSE started_at END,
    ended_at = CASE WHEN %(to)s::text = 'stopped' THEN %(now)s END WHERE session_id = %(session_id)s"""


async def main(settings: Settings) -> None:
    """Handle reports until killed."""
    queue = event_queue(settings.queue_name, routing.PROCESSOR_EVENT_KEYS)
    async with (
        await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as database,
        connect(settings, "one-at-a-time") as connection,
        Publisher(connection) as publisher,
    ):

        async def handle(delivery: Delivery) -> None:
            said = decode(SessionReported, delivery.body)
            row = await (await database.execute(READ, [said.session_id])).fetchone()
            if row is None or said.status not in ALLOWED[row[1]]:
                return
            values = {"to": said.status, "exit_code": said.exit_code, "now": clock.now(), "session_id": said.session_id}
            await database.execute(UPDATE, values)
            event = SessionEvent(session_id=said.session_id, sgc_id=row[0], status=said.status, previous_status=row[1])
            key = routing.external_session(said.status)
            await publisher.publish(settings.external_exchange, key, encode(event), message_id=str(uuid.uuid4()))

        await consume(connection, queue, handle)


if __name__ == "__main__":
    asyncio.run(main(Settings()))
