"""The environment that a session of a deployment would get now, as it may be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain import environment
from manman.domain import parameters as rules
from manman.errors import Conflict, Invalid
from manman_api.handlers import configuration, start_command
from manman_api.handlers.configs import declared

if TYPE_CHECKING:
    from manman.db.unit_of_work import Uow
    from manman.domain.environment import Variable


async def effective_env(*, deployment_id: int, uow: Uow) -> list[Variable]:
    """Return the variables by name, secrets masked.

    Raises:
        NotFound: there is no such deployment.
        Conflict: no session could be started: its values do not fit, or a strategy cannot be rendered.

    """
    async with uow() as tx:
        deployment = await tx.deployments.get(deployment_id)
        config = await tx.configs.get(deployment.game_config_id)
        try:
            values = rules.resolve(declared(config), [deployment.parameters]).values
        except Invalid as refused:
            raise Conflict(
                f"the parameters of deployment {deployment_id} do not fit its config: {refused}"
            ) from refused
        final = await configuration.final(
            tx,
            config=config,
            volumes=await tx.volumes.list(config_id=config.config_id),
            occasion=configuration.Occasion(
                deployment_id=deployment_id, deployment=deployment.parameters, env_overrides=deployment.env_overrides
            ),
            values=values,
        )
        return environment.show(
            final.env,
            before_strategies=start_command.render(config, values, deployment.env_overrides).env,
            overrides=deployment.env_overrides.keys(),
            secrets=rules.secrets_of(declared(config), [deployment.parameters]),
        )
