"""What is said to hosts before something is removed together with the sessions below it.

A live session forbids the removal. One that was lost with its host does not, though its game may still run there: the
host is told to end it, and hears that when it is back. Afterwards nobody could ask for it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.sessions import HOST_OFFLINE
from manman.messages.commands import StopSession
from manman.messages.routing import command_stop

if TYPE_CHECKING:
    from manman.db.unit_of_work import Transaction

MOST = 1000
"""More sessions than that are not out of sight below one thing."""


async def end_what_is_out_of_sight(
    tx: Transaction,
    *,
    sgc_id: int | None = None,
    server_id: int | None = None,
    game_config_id: int | None = None,
    game_id: int | None = None,
) -> None:
    """Tell the hosts to end the games of sessions that were lost with them, below what the argument names."""
    lost = await tx.sessions.lost(
        sgc_id=sgc_id, server_id=server_id, game_config_id=game_config_id, game_id=game_id, limit=MOST
    )
    for row in lost:
        if row.lost_reason == HOST_OFFLINE:
            origin = await tx.deployments.origin(row.sgc_id)
            tx.outbox.add_command(
                routing_key=command_stop(origin.server_id),
                body=StopSession(session_id=row.session_id),
                session_id=row.session_id,
            )
