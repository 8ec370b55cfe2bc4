"""On boot: find what an earlier life of this host left running, and go on with it.

Only containers with this server's and this environment's labels count. A session whose folder still holds its plan gets
a runner again, whatever state its containers are in: the runner revives the wrapper and reports what it finds. Anything
else is left alone and named in the log; the sweep for orphans decides about it after its grace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from manman.errors import Invalid
from manman_host.container_spec import base_labels

if TYPE_CHECKING:
    from manman_host.session_start import Parts
    from manman_host.supervisor import Supervisor

log = structlog.get_logger(__name__)


async def recover(parts: Parts, supervisor: Supervisor) -> int:
    """Adopt every session that left containers and a plan; return how many. Raises `Unavailable` without an engine."""
    labels = base_labels(parts.identity)
    for helper in await parts.engine.find(labels, kinds=("helper",)):  # its maker died before it could remove it
        await parts.engine.remove_container(helper.id)
    found = await parts.engine.find(labels, kinds=("game", "wrapper"))
    adopted = 0
    for session_id in sorted({container.session_id for container in found}):
        plan = parts.data.session(session_id).plan() if session_id else None
        if plan is None or plan.command.session_id != session_id:
            names = [container.name for container in found if container.session_id == session_id]
            log.warning("unknown_containers", session_id=session_id, containers=names)
            continue
        try:
            supervisor.adopt(session_id, plan)
        except Invalid as error:
            log.error("plan_refused", session_id=session_id, reason=str(error))  # noqa: TRY400 - the text says it all
            continue
        adopted += 1
    log.info("recovered", sessions=adopted)
    return adopted
