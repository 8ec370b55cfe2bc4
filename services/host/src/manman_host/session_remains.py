"""What a session leaves on this host: its containers, its network, its folder. They are found by their labels.

Whether they may go is decided by who calls; what nobody calls for is left to `orphans`.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import structlog

from manman.errors import ManManError
from manman_host.container_spec import base_labels

if TYPE_CHECKING:
    from manman_host.docker_engine import Found
    from manman_host.session_folder import SessionFolder
    from manman_host.session_start import Parts

log = structlog.get_logger(__name__)


async def find_containers(parts: Parts, session_id: int) -> list[Found]:
    """Return what carries this session's labels, the wrapper first: it would call the game's removal a crash."""
    labels = {**base_labels(parts.identity), "manman.session_id": str(session_id)}
    try:
        found = await parts.engine.find(labels, kinds=("game", "wrapper"))
    except ManManError as error:
        log.warning("containers_not_found", reason=str(error))
        return []
    return sorted(found, key=lambda one: one.kind, reverse=True)


async def remove(parts: Parts, session_id: int, network: str, folder: SessionFolder) -> None:
    """Remove containers, network and folder. What fails is left to the sweep for orphans."""
    owned = [found.id for found in await find_containers(parts, session_id)]
    for step in (
        *(functools.partial(parts.engine.remove_container, container) for container in owned),
        functools.partial(parts.engine.remove_network, network),
    ):
        try:
            await step()
        except ManManError as error:
            log.warning("clean_up_left_to_sweep", reason=str(error))
    await asyncio.to_thread(folder.remove)
