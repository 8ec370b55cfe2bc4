"""The sign of life: every few seconds, with everything this host runs, and now and then with what it has to offer.

Samples go with the first heartbeat after they were taken. One that cannot be sent is dropped: the next one says the
same, only newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from manman.errors import ManManError
from manman.messages import routing
from manman.messages.codec import encode
from manman.messages.health import MAX_INVENTORY, Capabilities, Heartbeat, SessionInventoryItem, SessionStats
from manman_host.capabilities import AGENT, FEATURES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from manman.bus.publisher import Publisher
    from manman.messages.health import Samples
    from manman_host.identity import Identity

CAPABILITIES_INTERVAL_S = 60.0
PUBLISH_TIMEOUT_S = 3.0
MEASURE_TIMEOUT_S = 2.0
"""An engine that hangs must not make this host look dead."""

log = structlog.get_logger(__name__)


async def beat(
    publisher: Publisher,
    identity: Identity,
    *,
    interval_s: float,
    public_address: str,
    inventory: Callable[[], list[SessionInventoryItem]],
    measure: Callable[[], Awaitable[Capabilities | None]],
    take_samples: Callable[[], Samples | None],
) -> None:
    """Publish heartbeats for ever, the first at once. Ends by cancellation."""
    measured_at = -CAPABILITIES_INTERVAL_S
    while True:
        capabilities = None
        if time.monotonic() - measured_at >= CAPABILITIES_INTERVAL_S:
            with contextlib.suppress(TimeoutError):
                capabilities = await asyncio.wait_for(measure(), MEASURE_TIMEOUT_S)
            measured_at = time.monotonic()
        body = compose(
            identity,
            inventory(),
            public_address=public_address,
            capabilities=capabilities,
            samples=take_samples(),
        )
        try:
            await publisher.publish(
                routing.EXCHANGE,
                routing.health_host(identity.server_id),
                encode(body),
                message_id=str(uuid4()),
                headers=routing.said_by(identity.server_id),
                timeout_s=PUBLISH_TIMEOUT_S,
            )
        except ManManError as error:
            log.warning("heartbeat_not_sent", reason=str(error))
        await asyncio.sleep(interval_s)


def compose(
    identity: Identity,
    sessions: list[SessionInventoryItem],
    *,
    public_address: str,
    capabilities: Capabilities | None,
    samples: Samples | None,
) -> Heartbeat:
    """Return the body. With too many sessions the list is left out: half a list would call the rest missing."""
    counts = Counter(session.status for session in sessions)
    return Heartbeat(
        server_id=identity.server_id,
        session_stats=SessionStats(
            total=len(sessions),
            starting=counts["starting"],
            running=counts["running"],
            stopping=counts["stopping"],
            stopped=counts["stopped"],
            crashed=counts["crashed"],
        ),
        agent=AGENT,
        features=list(FEATURES),
        host_boot_id=identity.boot_id,
        capabilities=capabilities,
        sessions=sessions if len(sessions) <= MAX_INVENTORY else None,
        public_address=public_address,
        samples=samples,
    )
