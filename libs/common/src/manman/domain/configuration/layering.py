"""One strategy: its base, then its layers in order, each with where it came from.

Of each level first the values of parameters that are set there (through bindings), then the level's patches. So a patch
beats a parameter of its own level, and a session's parameter beats a patch of the config.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from manman.domain.configuration import cli_args, env_vars
from manman.domain.configuration.bindings import bind
from manman.domain.configuration.overlays import check_text, overlay
from manman.domain.configuration.strategies import Unreadable
from manman.domain.rendering import render_text
from manman.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from manman.domain.configuration.bindings import Binding
    from manman.domain.configuration.strategies import Patch, Strategy

T = TypeVar("T")

PREVIEW = "preview"
"""The level of values that are only tried."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The parameter values that are set at one level."""

    name: str
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one source contributed, placeholders replaced. `patch_id` is 0 when the source is parameters."""

    level: str
    origin: str
    text: str
    format: str
    patch_id: int = 0

    def __str__(self) -> str:
        """Name the source as people do."""
        return (
            f"patch {self.patch_id} of level {self.level}" if self.patch_id else f"the parameters of level {self.level}"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a strategy gives. For `env_vars` the result is `env`, and `content` shows it."""

    strategy: Strategy
    target_path: str
    base: str
    content: str
    layers: tuple[Layer, ...]
    env: Mapping[str, str]


def render(
    strategy: Strategy,
    *,
    patches: Sequence[Patch],
    bindings: Sequence[Binding],
    levels: Sequence[Level],
    values: Mapping[str, str],
    env: Mapping[str, str],
) -> Configuration:
    """Render one strategy. `patches` are in the order in which they apply, `env` is the environment so far.

    Raises `Conflict` that names the strategy and the patch at fault.
    """
    base = render_text(strategy.base, values)
    layers = _layers(strategy, patches, bindings, levels, values)
    targets = [patch.target_path for patch in patches if patch.target_path]
    if strategy.type == "env_vars":
        variables = dict(env)
        for layer in [Layer(level="", origin="base", text=base, format="template"), *layers]:
            variables = _or_refuse(strategy, layer, lambda: env_vars.overlay(variables, layer.text, layer.format))  # noqa: B023 - called at once
        content, base = env_vars.text_of(variables), "\n".join(filter(None, [env_vars.text_of(env), base]))
    else:
        variables = {}  # only a strategy of the environment has one
        content = _text(strategy, base, layers)
    return Configuration(
        strategy=strategy,
        target_path=targets[-1] if targets else strategy.target_path,
        base=base,
        content=content,
        layers=layers,
        env=variables,
    )


def _text(strategy: Strategy, base: str, layers: Sequence[Layer]) -> str:
    _or_refuse(strategy, None, lambda: check_text(strategy.type, base))
    text = base
    for layer in layers:
        options = strategy.options
        if layer.origin == "parameters":
            options = dataclasses.replace(options, append=False, shallow=False)
        text = _or_refuse(strategy, layer, lambda: overlay(strategy.type, text, layer.text, layer.format, options))  # noqa: B023 - called at once
    if strategy.type == "cli_args":
        _or_refuse(strategy, None, lambda: cli_args.split(text))
    return text


def _layers(
    strategy: Strategy,
    patches: Sequence[Patch],
    bindings: Sequence[Binding],
    levels: Sequence[Level],
    values: Mapping[str, str],
) -> tuple[Layer, ...]:
    found = []
    for level in levels:
        empty = Layer(level=level.name, origin="parameters", text="", format="template")
        text, text_format = _or_refuse(strategy, empty, lambda: bind(strategy.type, bindings, level.values, values))  # noqa: B023 - called at once
        if text:
            found.append(dataclasses.replace(empty, text=text, format=text_format))
        found += [
            Layer(
                level=patch.level,
                origin="patch",
                text=render_text(patch.content, values),
                format=patch.format,
                patch_id=patch.patch_id,
            )
            for patch in patches
            if patch.level == level.name
        ]
    return tuple(found)


def _or_refuse(strategy: Strategy, layer: Layer | None, work: Callable[[], T]) -> T:
    try:
        return work()
    except Unreadable as refused:
        source = str(layer) if layer is not None and layer.origin != "base" else "the base"
        raise Conflict(
            f"configuration strategy {strategy.strategy_id} ({strategy.name}, {strategy.type}) cannot be rendered: "
            f"{source} {refused}"
        ) from refused
