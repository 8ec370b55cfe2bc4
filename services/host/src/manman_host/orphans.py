"""Removes what carries our labels and belongs to no session any more, after a grace and only when that is certain.

Certain means: it has this server's and this environment's labels, it is older than the grace, no runner knows it, and
the control plane says that the session has ended or does not exist. While the control plane cannot be asked, nothing is
removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from manman.domain.sessions import is_live
from manman.errors import NotFound
from manman.rpc.client import call
from manman.v1 import api_pb2_grpc, sessions_pb2

from manman_host.container_spec import base_labels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    import grpc

    from manman_host.session_start import Parts

STOP_TIMEOUT_S = 30
ASK_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


def asks_api(channel: grpc.aio.Channel) -> Callable[[int], Awaitable[bool]]:
    """Return the question whether a session may still run, put to the API. It raises `Unavailable` without an API."""
    api = api_pb2_grpc.ManManAPIStub(channel)

    async def may_run(session_id: int) -> bool:
        try:
            answer = await call(
                api.GetSession, sessions_pb2.GetSessionRequest(session_id=session_id), timeout_s=ASK_TIMEOUT_S
            )
        except NotFound:
            return False
        return is_live(answer.session.status)

    return may_run


async def sweep_orphans(
    parts: Parts,
    *,
    known: frozenset[int],
    may_run: Callable[[int], Awaitable[bool]],
    grace: timedelta,
    now: datetime,
    dry_run: bool,
) -> int:
    """Remove orphaned games, wrappers and networks; return how many. With `dry_run` they are only named in the log."""
    labels = base_labels(parts.identity)
    removed = 0

    async def is_orphan(session_id: int, created_at: datetime | None) -> bool:
        if session_id in known or not session_id or created_at is None or now - created_at < grace:
            return False
        return not await may_run(session_id)

    for container in await parts.engine.find(labels, kinds=("wrapper", "game")):
        if not await is_orphan(container.session_id, container.created_at):
            continue
        log.warning("orphan", container=container.name, session_id=container.session_id, removed=not dry_run)
        if not dry_run:
            await parts.engine.remove_container(container.id, stop_timeout_s=STOP_TIMEOUT_S)
            removed += 1
    for network in await parts.engine.find_networks(labels):
        if network.in_use or not await is_orphan(network.session_id, network.created_at):
            continue
        log.warning("orphan", network=network.name, session_id=network.session_id, removed=not dry_run)
        if not dry_run:
            await parts.engine.remove_network(network.name)
            removed += 1
    return removed
