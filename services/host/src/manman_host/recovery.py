"""On boot: find what an earlier life of this host left running, and go on with it.

Only containers with this server's and this environment's labels count. A session whose folder still holds its plan gets
a runner again, whatever state its containers are in: the runner revives the wrapper and reports what it finds. So does
one whose containers are gone, all of them, if its wrapper wrote down how the game was. Anything else is left alone and
named in the log; the sweep for orphans decides about it after its grace.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from manman.errors import Invalid
from manman_host.container_spec import base_labels

if TYPE_CHECKING:
    from manman_host.session_folder import DataFolder
    from manman_host.session_start import Parts
    from manman_host.supervisor import Supervisor

log = structlog.get_logger(__name__)


async def recover(parts: Parts, supervisor: Supervisor) -> int:
    """Adopt every session that left a plan and containers or a state; return how many.

    Raises `Unavailable` without an engine.
    """
    labels = base_labels(parts.identity)
    for helper in await parts.engine.find(labels, kinds=("helper",)):  # its maker died before it could remove it
        await parts.engine.remove_container(helper.id)
    found = await parts.engine.find(labels, kinds=("game", "wrapper"))
    here = {container.session_id for container in found}
    gone = await asyncio.to_thread(_begun, parts.data) - here
    adopted: set[int] = set()
    deployments: set[int] = set()
    for session_id in (*sorted(here), *sorted(gone, reverse=True)):
        plan = parts.data.session(session_id).plan() if session_id else None
        if plan is None or plan.command.session_id != session_id:
            names = [container.name for container in found if container.session_id == session_id]
            log.warning("unknown_containers", session_id=session_id, containers=names)
            continue
        sgc_id = plan.command.sgc_id
        if session_id in gone and (plan.server_id != parts.identity.server_id or sgc_id in deployments):
            continue  # another server's, or one before the deployment's newest: its containers' names are taken
        try:
            supervisor.adopt(session_id, plan)
        except Invalid as error:
            log.error("plan_refused", session_id=session_id, reason=str(error))  # noqa: TRY400 - the text says it all
            continue
        adopted.add(session_id)
        deployments.add(sgc_id)
    log.info("recovered", sessions=len(adopted), without_containers=len(adopted & gone))
    return len(adopted)


def _begun(data: DataFolder) -> set[int]:
    """Return the sessions whose wrapper wrote down how its game is: it can say so again, without any container."""
    return {session_id for session_id, folder in data.sessions().items() if folder.has_begun()}
