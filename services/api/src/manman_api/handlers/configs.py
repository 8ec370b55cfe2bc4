"""Game configs: how to run a game, with files, declared parameters and limits.

A config in use may be changed: sessions that run keep what they were started with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from manman.db.models import GameConfigFile
from manman.domain.capabilities import check_extra
from manman.domain.configs import (
    RestartPolicy,
    check_environment,
    check_files,
    check_image,
    check_limits,
    check_restart,
    check_stop,
)
from manman.domain.parameters import check_declared
from manman.domain.patterns import pattern_complaint
from manman.domain.readiness import ReadyQuery, check_readiness
from manman.errors import Conflict, Invalid, Problem
from manman_api import masks
from manman_api.handlers.removals import end_what_is_out_of_sight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.db.models import GameConfig
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.parameters import Declared
    from manman.domain.rendering import FileTemplate
    from manman_api.paging import Page

LIMITS = ("memory_mb", "cpu_millicores", "pids_limit")
ISOLATION: dict[str, Any] = {
    "read_only_root": False,
    "no_capabilities": False,
    "extra_capabilities": [],
    "with_init": False,
}
"""Its columns, as they are when a request clears it."""


class ConfigValues(TypedDict):
    """What a request says about a config. `resources` and `isolation` map the names of `LIMITS` and `ISOLATION`.

    They, and `restart_policy`, are None when the request has none.
    """

    name: str
    image: str
    args_template: str
    env_template: dict[str, str]
    files: list[FileTemplate]
    parameters: list[Declared]
    entrypoint: list[str]
    command: list[str]
    resources: dict[str, int] | None
    stop_command: str
    stop_timeout_seconds: int
    stop_signal: str
    ready_pattern: str
    ready_query: ReadyQuery | None
    liveness_limit_seconds: int
    restart_policy: RestartPolicy | None
    isolation: dict[str, Any] | None


async def list_configs(*, game_id: int, page: Page, uow: Uow) -> tuple[list[GameConfig], str]:
    """Return a page of configs by id, of one game when `game_id` is not 0, and the token of the next."""
    async with uow() as tx:
        return page.cut(await tx.configs.list(game_id=game_id, limit=page.limit, offset=page.offset))


async def get_config(*, config_id: int, uow: Uow) -> GameConfig:
    """Return a config; raise `NotFound`."""
    async with uow() as tx:
        return await tx.configs.get(config_id)


async def create_config(*, game_id: int, values: ConfigValues, uow: Uow) -> GameConfig:
    """Add a config to a game; raise `Invalid`, `NotFound` (the game) or `AlreadyExists`."""
    wanted: dict[str, Any] = dict(values)
    _check(wanted)
    async with uow() as tx:
        await tx.games.get(game_id)
        row = await tx.configs.add(
            game_id=game_id,
            files=_files(wanted.pop("files")),
            parameters=wanted.pop("parameters"),
            **_columns(wanted),
        )
        await tx.commit()
        return row


async def update_config(*, config_id: int, values: ConfigValues, update_paths: Sequence[str], uow: Uow) -> GameConfig:
    """Change a config; files and parameters are replaced as a whole."""
    wanted = masks.changes(update_paths, values, mandatory=("name", "image"))
    _check(wanted)
    async with uow() as tx:
        row = await tx.configs.lock(config_id)
        await _replace_parts(tx, row, wanted)
        for column, value in _columns(wanted).items():
            setattr(row, column, value)
        await tx.commit()
        return row


async def delete_config(*, config_id: int, uow: Uow) -> None:
    """Remove a config with its deployments; an unknown id is fine. `Conflict` while a session is live."""
    async with uow() as tx:
        await tx.deployments.lock_below(game_config_id=config_id)
        live = await tx.sessions.count_live(game_config_id=config_id)
        if live:
            raise Conflict(f"game config {config_id} has {live} live sessions; stop them first")
        await end_what_is_out_of_sight(tx, game_config_id=config_id)
        await tx.configs.delete(config_id)
        await tx.commit()


def declared(row: GameConfig) -> list[Declared]:
    """Return what a stored config declares, as the domain reads it."""
    return [parameter.declared for parameter in row.parameters]


def check_run_settings(wanted: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with limits, stop and restart, of a config or a deployment."""
    stop = check_stop(
        wanted.get("stop_signal", ""), wanted.get("stop_timeout_seconds", 0), wanted.get("stop_command", "")
    )
    restart = wanted.get("restart_policy") or RestartPolicy()
    return [*check_limits(wanted.get("resources") or {}), *stop, *check_restart(restart)]


def run_settings_columns(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under the names of columns: limits and restart policy one by one, the rest as it is."""
    columns = dict(wanted)
    if "resources" in columns:
        limits = columns.pop("resources") or {}
        columns |= {name: limits.get(name, 0) for name in LIMITS}
    if "restart_policy" in columns:
        restart = columns.pop("restart_policy") or RestartPolicy()
        columns |= {
            "restart_policy": restart.policy,
            "restart_max_attempts": restart.max_attempts,
            "restart_window_seconds": restart.window_s,
            "restart_backoff_seconds": restart.backoff_s,
        }
    return columns


def _check(wanted: Mapping[str, Any]) -> None:
    problems = []
    if "image" in wanted:
        problems += check_image(wanted["image"])
    problems += check_environment(wanted.get("env_template", {}))
    problems += check_files(wanted.get("files", []))
    problems += check_run_settings(wanted)
    problems += check_readiness(wanted.get("ready_query") or ReadyQuery(), wanted.get("liveness_limit_seconds", 0))
    unusable = pattern_complaint(wanted.get("ready_pattern", ""))
    if unusable:
        problems.append(Problem("ready_pattern", unusable))
    extra = (wanted.get("isolation") or {}).get("extra_capabilities", ())
    problems += check_extra(extra, "isolation.extra_capabilities")
    try:
        check_declared(wanted.get("parameters", []))
    except Invalid as refused:
        problems += refused.problems
    if problems:
        raise Invalid(problems)


async def _replace_parts(tx: Transaction, row: GameConfig, wanted: dict[str, Any]) -> None:
    if "files" in wanted:
        await tx.configs.set_files(row, _files(wanted.pop("files")))
    if "parameters" in wanted:
        await tx.configs.set_parameters(row, wanted.pop("parameters"))


def _columns(wanted: Mapping[str, Any]) -> dict[str, Any]:
    columns = run_settings_columns(wanted)
    if "isolation" in columns:
        columns |= ISOLATION | (columns.pop("isolation") or {})
    if "ready_query" in columns:
        query = columns.pop("ready_query") or ReadyQuery()
        columns |= {"ready_query_kind": query.kind, "ready_query_port": query.port}
    if "args_template" in columns:
        columns["args_template"] = columns["args_template"] or None
    return columns


def _files(files: Sequence[FileTemplate]) -> list[GameConfigFile]:
    return [
        GameConfigFile(path=file.path, content=file.content, mode=file.mode or "0644", is_template=file.is_template)
        for file in files
    ]
