"""Removes what carries our labels and belongs to no session any more, after a grace and only when that is certain.

Certain means: it has this server's and this environment's labels, it is older than the grace, no runner knows it, and
the control plane says that the session has ended or does not exist. While the control plane cannot be asked, nothing is
removed.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import structlog

from manman.domain.sessions import is_live
from manman.errors import NotFound
from manman.rpc.client import call
from manman.v1 import api_pb2_grpc, sessions_pb2
from manman_host.container_spec import base_labels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime, timedelta

    import grpc

    from manman_host.session_start import Parts

STOP_TIMEOUT_S = 30
ASK_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


def asks_api(channel: grpc.aio.Channel, token: str = "") -> Callable[[int], Awaitable[bool]]:
    """Return the question whether a session may still run, put to the API. It raises `Unavailable` without an API."""
    api = api_pb2_grpc.ManManAPIStub(channel)

    async def may_run(session_id: int) -> bool:
        try:
            request = sessions_pb2.GetSessionRequest(session_id=session_id)
            answer = await call(api.GetSession, request, timeout_s=ASK_TIMEOUT_S, token=token)
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
    """Remove orphaned games, wrappers, networks and session folders; return how many. `dry_run` only names them."""
    removed = 0
    async for name, session_id, remove in _suspects(parts, now - grace):
        if session_id in known or await may_run(session_id):
            continue
        log.warning("orphan", name=name, session_id=session_id, removed=not dry_run)
        if not dry_run:
            await remove()
            removed += 1
    return removed


async def _suspects(parts: Parts, before: datetime) -> AsyncIterator[tuple[str, int, Callable[[], Awaitable[object]]]]:
    """Yield the name, the session and the removal of everything of ours that was made before then."""
    labels, engine = base_labels(parts.identity), parts.engine
    containers = await engine.find(labels, kinds=("wrapper", "game"))
    for found in containers:
        if found.session_id and _is_older(found.created_at, before):
            yield (
                found.name,
                found.session_id,
                functools.partial(engine.remove_container, found.id, stop_timeout_s=STOP_TIMEOUT_S),
            )
    for network in await engine.find_networks(labels):
        if network.session_id and not network.in_use and _is_older(network.created_at, before):
            yield network.name, network.session_id, functools.partial(engine.remove_network, network.name)
    with_containers = {found.session_id for found in containers}
    for session_id, folder in await asyncio.to_thread(parts.data.forgotten, before):
        if session_id not in with_containers:
            yield str(folder.inner), session_id, functools.partial(asyncio.to_thread, folder.remove)


def _is_older(created_at: datetime | None, before: datetime) -> bool:
    return created_at is not None and created_at < before
