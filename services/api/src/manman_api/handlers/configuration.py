"""What the strategies of a game give for a deployment or a session: rendered, and where each part comes from."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from manman.domain import parameters as rules
from manman.domain.configuration.bindings import Binding
from manman.domain.configuration.layering import PREVIEW
from manman.domain.configuration.strategies import Options, Patch, Strategy, place
from manman.domain.configuration.targets import Source, apply, configure, levels_of
from manman.errors import Conflict, Invalid
from manman_api.handlers import start_command
from manman_api.handlers.configs import declared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.db.configuration import BoundParameter, PlacedPatch
    from manman.db.models import ConfigurationStrategy, GameConfig, GameConfigVolume
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.configuration.layering import Configuration
    from manman.domain.rendering import Rendered


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a configuration is rendered for. Ids are 0 for what is not there yet; `tried` is stored nowhere."""

    deployment_id: int = 0
    deployment: Mapping[str, str]
    env_overrides: Mapping[str, str]
    session_id: int = 0
    session: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tried: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class SessionConfiguration:
    """The configurations of a session, and where it belongs."""

    configurations: Sequence[Configuration]
    game_id: int
    config_id: int
    deployment_id: int


async def of_session(*, session_id: int, tried: Mapping[str, str] | None, uow: Uow) -> SessionConfiguration:
    """Return a session's configuration as it would be rendered now, with the values `tried` on top if not None.

    Raises:
        NotFound: there is no such session.
        Invalid: the values that are tried do not fit.
        Conflict: it cannot be rendered; the strategy and the patch are named.

    """
    async with uow() as tx:
        session = await tx.sessions.get(session_id)
        deployment = await tx.deployments.get(session.sgc_id)
        config = await tx.configs.get(deployment.game_config_id)
        occasion = Occasion(
            deployment_id=deployment.sgc_id,
            deployment=deployment.parameters,
            env_overrides=deployment.env_overrides,
            session_id=session_id,
            session=session.parameters,
            tried=tried or {},
        )
        try:
            values = rules.resolve(declared(config), [occasion.deployment, occasion.session, occasion.tried]).values
        except Invalid as refused:
            if tried:
                raise
            raise Conflict(f"the parameters of session {session_id} do not fit its config: {refused}") from refused
        found = await render(tx, config, occasion, values)
        return SessionConfiguration(found, config.game_id, config.config_id, deployment.sgc_id)


async def render(
    tx: Transaction, config: GameConfig, occasion: Occasion, values: Mapping[str, str]
) -> list[Configuration]:
    """Render every strategy of the config's game; raise `Conflict` that names the strategy and the patch at fault.

    Its text may quote what could not be read, and goes into the log: secrets in it are hidden.
    """
    strategies = await tx.configuration.strategies(config.game_id)
    if not strategies:
        return []
    entities = {
        "game_config": config.config_id,
        "server_game_config": occasion.deployment_id,
        "session": occasion.session_id,
    }
    patches = await tx.configuration.patches_for(game_id=config.game_id, entities=entities)
    bindings = await tx.configuration.bindings(config.game_id)
    types = {parameter.key: parameter.type for parameter in declared(config)}
    sources = [_source(row, patches, bindings, types) for row in strategies]
    levels = levels_of(
        declared(config), occasion.deployment, occasion.session, **({PREVIEW: occasion.tried} if occasion.tried else {})
    )
    env = start_command.render(config, values, occasion.env_overrides).env
    try:
        # large files take their time: other calls go on meanwhile
        return await asyncio.to_thread(configure, sources, levels=levels, values=values, env=env)
    except Conflict as refused:
        secrets = rules.secrets_of(declared(config), [occasion.deployment, occasion.session, occasion.tried])
        raise Conflict(rules.hide(str(refused), secrets)) from refused


async def final(
    tx: Transaction,
    *,
    config: GameConfig,
    volumes: Sequence[GameConfigVolume],
    occasion: Occasion,
    values: Mapping[str, str],
) -> Rendered:
    """Return a config's final values with every strategy in them; raise `Conflict` when one cannot be rendered."""
    configurations = await render(tx, config, occasion, values)
    plain = start_command.render(config, values, occasion.env_overrides)
    return apply(plain, configurations, [volume.container_path for volume in volumes])


def _source(
    row: ConfigurationStrategy,
    patches: Sequence[PlacedPatch],
    bindings: Sequence[BoundParameter],
    types: Mapping[str, str],
) -> Source:
    target_path = row.target_path or ""
    return Source(
        strategy=Strategy(
            strategy_id=row.strategy_id,
            name=row.name,
            type=row.strategy_type,
            target_path=target_path,
            base=row.base_template or "",
            options=Options.of(row.render_options),
        ),
        patches=[
            Patch(
                patch_id=patch.row.patch_id,
                level=patch.row.patch_level,
                content=patch.row.patch_content or "",
                format=patch.row.patch_format,
                target_path=place(
                    target_path=target_path,
                    container_path=patch.container_path,
                    path_override=patch.row.path_override or "",
                ),
            )
            for patch in patches
            if patch.row.strategy_id == row.strategy_id
        ],
        bindings=[
            Binding(
                parameter=bound.key,
                kind=bound.row.binding_type,
                target_key=bound.row.target_key,
                parameter_type=types.get(bound.key, "string"),
                value_template=bound.row.value_template or "",
                condition=bound.row.condition_expr or "",
            )
            for bound in bindings
            if bound.row.strategy_id == row.strategy_id
        ],
    )
