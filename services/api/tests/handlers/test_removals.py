"""What is removed may still run on a host that nobody can see at the moment."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages.codec import decode
from manman.messages.commands import StopSession
from manman.messages.routing import command_stop
from manman_api.handlers import configs, deployments, games, servers

REMOVALS: dict[str, Callable[..., Awaitable[None]]] = {
    "deployment": lambda row, uow: deployments.undeploy(deployment_id=row.sgc_id, uow=uow),
    "config": lambda row, uow: configs.delete_config(config_id=row.game_config_id, uow=uow),
    "server": lambda row, uow: servers.delete_server(server_id=row.server_id, uow=uow),
    "game": lambda _, uow: games.delete_game(game_id=1, uow=uow),
}


@pytest.mark.parametrize("removed", REMOVALS)
async def test_a_game_that_may_run_out_of_sight_is_told_to_end_before_nobody_knows_it_any_more(
    world: Any, removed: str
) -> None:
    deployment = await world.deployment()
    async with world.uow() as tx:
        for reason in ("host_offline", "start_stalled"):
            row = await tx.sessions.add(sgc_id=deployment.sgc_id, now=world.now)
            await transitions.apply(tx, row, Change(status=Status.LOST, reason=reason), now=world.now)
        await tx.commit()

    await REMOVALS[removed](deployment, world.uow)

    async with world.uow() as tx:
        rows = [row for row in await tx.outbox.unpublished(limit=100) if row.mandatory]
    assert [row.routing_key for row in rows] == [command_stop(deployment.server_id)]
    assert decode(StopSession, rows[0].body) == StopSession(session_id=1)
