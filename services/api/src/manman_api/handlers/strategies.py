"""Configuration strategies of a game: how its arguments, environment and files are produced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypedDict

from manman.domain.configuration.overlays import check_base, check_patch
from manman.domain.configuration.strategies import check_format, check_size, check_strategy
from manman.errors import Conflict, Invalid
from manman_api import masks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.db.models import ConfigurationStrategy
    from manman.db.unit_of_work import Transaction, Uow

_MANDATORY = ("name", "strategy_type")
_NULLABLE = ("description", "target_path", "base_template")


class StrategyValues(TypedDict):
    """What a request says about a strategy."""

    name: str
    description: str
    strategy_type: str
    target_path: str
    base_template: str
    render_options: dict[str, str]
    apply_order: int


async def list_strategies(*, game_id: int, uow: Uow) -> list[ConfigurationStrategy]:
    """Return the strategies of a game in the order in which they apply."""
    async with uow() as tx:
        return list(await tx.configuration.strategies(game_id))


async def create_strategy(*, game_id: int, values: StrategyValues, uow: Uow) -> ConfigurationStrategy:
    """Add a strategy to a game; raise `Invalid`, `NotFound` (the game) or `AlreadyExists`."""
    await _check(values)
    async with uow() as tx:
        await tx.games.get(game_id)
        row = await tx.configuration.add_strategy(game_id=game_id, **_columns(values))
        await tx.commit()
        return row


async def update_strategy(
    *, strategy_id: int, values: StrategyValues, update_paths: Sequence[str], uow: Uow
) -> ConfigurationStrategy:
    """Change a strategy. `Conflict` when one of its patches would not fit its new type."""
    wanted = masks.changes(update_paths, values, mandatory=_MANDATORY)
    async with uow() as tx:
        row = await tx.configuration.lock_strategy(strategy_id)
        await _check({**_values(row), **wanted})
        if wanted.get("strategy_type", row.strategy_type) != row.strategy_type:
            await _check_patches(tx, strategy_id, wanted["strategy_type"])
        for column, value in _columns(wanted).items():
            setattr(row, column, value)
        await tx.commit()
        return row


async def delete_strategy(*, strategy_id: int, uow: Uow) -> None:
    """Remove a strategy with its patches; an unknown id is fine."""
    async with uow() as tx:
        await tx.configuration.delete_strategy(strategy_id)
        await tx.commit()


async def _check(values: Mapping[str, Any]) -> None:
    """Raise `Invalid`. Texts are read in a thread: large ones take their time, and other calls go on meanwhile."""
    problems = check_strategy(
        strategy_type=values["strategy_type"],
        target_path=values["target_path"],
        render_options=values["render_options"],
    )
    problems += check_size("base_template", values["strategy_type"], values["base_template"])
    problems = problems or await asyncio.to_thread(check_base, values["strategy_type"], values["base_template"])
    if problems:
        raise Invalid(problems)


async def _check_patches(tx: Transaction, strategy_id: int, strategy_type: str) -> None:
    for patch in await tx.configuration.patches(strategy_id=strategy_id):
        problems = check_format(strategy_type, patch.patch_format)
        content = patch.patch_content or ""
        problems = problems or check_size("patch_content", strategy_type, content)
        problems = problems or await asyncio.to_thread(check_patch, strategy_type, content, patch.patch_format)
        if problems:
            raise Conflict(f"patch {patch.patch_id} would not fit {strategy_type}: {problems[0].message}")


def _values(row: ConfigurationStrategy) -> dict[str, Any]:
    return {
        "strategy_type": row.strategy_type,
        "target_path": row.target_path or "",
        "base_template": row.base_template or "",
        "render_options": row.render_options,
    }


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (value or None) if name in _NULLABLE else value for name, value in values.items()}
