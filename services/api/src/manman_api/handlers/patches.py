"""Configuration patches: texts that refine what a strategy produces, for one config, deployment or session."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from manman.domain.configuration.overlays import check_patch
from manman.domain.configuration.strategies import check_format, check_place, check_size
from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from manman.db.models import ConfigurationPatch, ConfigurationStrategy
    from manman.db.unit_of_work import Transaction, Uow

DEFAULT_FORMAT = "template"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchValues:
    """What a request says about a patch. `format` "" means template, `volume_id` 0 the strategy's own target."""

    content: str
    format: str
    order: int
    volume_id: int
    path_override: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Owner:
    """What a patch hangs on: its game and its config."""

    game_id: int
    config_id: int


async def list_patches(
    *, strategy_id: int | None, level: str | None, entity_id: int | None, uow: Uow
) -> list[ConfigurationPatch]:
    """Return patches in the order in which they apply. A filter that is None matches all."""
    async with uow() as tx:
        return list(await tx.configuration.patches(strategy_id=strategy_id, level=level, entity_id=entity_id))


async def create_patch(
    *, strategy_id: int, level: str, entity_id: int, values: PatchValues, uow: Uow
) -> ConfigurationPatch:
    """Add a patch; raise `Invalid`, or `NotFound` for the strategy, the entity or the volume."""
    async with uow() as tx:
        strategy = await tx.configuration.lock_strategy(strategy_id)
        owner = await _lock_owner(tx, level, entity_id)
        await _check(tx, strategy, owner, values)
        row = await tx.configuration.add_patch(
            strategy_id=strategy_id,
            patch_level=level,
            entity_id=entity_id,
            patch_content=values.content,
            patch_format=values.format or DEFAULT_FORMAT,
            patch_order=values.order,
            volume_id=values.volume_id or None,
            path_override=values.path_override or None,
        )
        await tx.commit()
        return row


async def update_patch(*, patch_id: int, values: PatchValues, uow: Uow) -> ConfigurationPatch:
    """Replace a patch's content, format, order and place."""
    async with uow() as tx:
        row = await tx.configuration.patch(patch_id)
        strategy = await tx.configuration.lock_strategy(row.strategy_id)
        await _check(tx, strategy, await _lock_owner(tx, row.patch_level, row.entity_id), values)
        row.patch_content = values.content
        row.patch_format = values.format or DEFAULT_FORMAT
        row.patch_order = values.order
        row.volume_id = values.volume_id or None
        row.path_override = values.path_override or None
        await tx.commit()
        return row


async def delete_patch(*, patch_id: int, uow: Uow) -> None:
    """Remove a patch; an unknown id is fine."""
    async with uow() as tx:
        await tx.configuration.delete_patch(patch_id)
        await tx.commit()


async def _lock_owner(tx: Transaction, level: str, entity_id: int) -> _Owner:
    """Lock what the patch hangs on, so that it cannot go away meanwhile; raise `NotFound`."""
    if level == "game_config":
        config = await tx.configs.lock(entity_id)
        return _Owner(config.game_id, config.config_id)
    sgc_id = entity_id if level == "server_game_config" else (await tx.sessions.lock(entity_id)).sgc_id
    if level == "server_game_config":
        await tx.deployments.lock(sgc_id)
    origin = await tx.deployments.origin(sgc_id)
    return _Owner(origin.game_id, origin.game_config_id)


async def _check(tx: Transaction, strategy: ConfigurationStrategy, owner: _Owner, values: PatchValues) -> None:
    patch_format = values.format or DEFAULT_FORMAT
    kind = strategy.strategy_type
    problems = check_format(kind, patch_format) + check_size("patch_content", kind, values.content)
    # large texts take their time: other calls go on meanwhile
    problems = problems or await asyncio.to_thread(check_patch, kind, values.content, patch_format)
    if owner.game_id != strategy.game_id:
        text = f"belongs to game {owner.game_id}; the strategy belongs to game {strategy.game_id}"
        problems.append(Problem("entity_id", text))
    container_path = ""
    if values.volume_id:
        volume = await tx.volumes.get(values.volume_id)
        container_path = volume.container_path
        if volume.config_id != owner.config_id:
            text = f"is a volume of config {volume.config_id}, not of config {owner.config_id}"
            problems.append(Problem("volume_id", text))
    is_file = strategy.strategy_type.startswith("file_")
    problems += check_place(is_file=is_file, container_path=container_path, path_override=values.path_override)
    if problems:
        raise Invalid(problems)
