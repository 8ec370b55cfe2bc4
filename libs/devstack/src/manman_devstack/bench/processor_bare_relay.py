"""What the broker itself can do: every report is published again as it is. Yardstick of the processor's bench.

    python -m manman_devstack.bench.processor_bare_relay

The same client, prefetch and batch as the processor, confirms and multiple acknowledgements, and no database. Up to
three batches wait for their confirms at a time, so that neither side of the broker ever rests.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from typing import TYPE_CHECKING

from manman.bus.connection import connect
from manman.bus.publisher import Outgoing, Publisher
from manman.bus.subscription import subscribe_in_bulk
from manman.bus.topology import event_queue
from manman.messages import routing
from manman_processor.settings import Settings

if TYPE_CHECKING:
    from manman.bus.publisher import Result

IN_FLIGHT = 3
CONFIRM_TIMEOUT_S = 30.0


async def main(settings: Settings) -> None:
    """Relay until killed."""
    queue = event_queue(settings.queue_name, routing.PROCESSOR_EVENT_KEYS)
    async with connect(settings, "bare-relay") as connection, Publisher(connection) as publisher:
        out = await publisher.open_sender()
        async with subscribe_in_bulk(connection, queue, prefetch=settings.event_prefetch) as source:
            sent: deque[tuple[int, asyncio.Future[list[Result]]]] = deque()
            while True:
                batch, last_tag = await source.next_batch(settings.event_batch_max)
                messages = [
                    Outgoing(
                        exchange=settings.external_exchange,
                        routing_key=routing.external_session("relayed"),
                        body=delivery.body,
                        message_id=str(uuid.uuid4()),
                    )
                    for delivery in batch
                ]
                sent.append((last_tag, out.send(messages, timeout_s=CONFIRM_TIMEOUT_S)))
                while sent and (sent[0][1].done() or len(sent) == IN_FLIGHT):
                    tag, results = sent.popleft()
                    if any(await results):
                        raise RuntimeError("the broker did not confirm")
                    source.acknowledge(tag)


if __name__ == "__main__":
    asyncio.run(main(Settings()))
