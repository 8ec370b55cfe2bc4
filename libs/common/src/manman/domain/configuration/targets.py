"""All strategies of a session: what the game's container gets as arguments, environment and files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from manman.domain.configuration import cli_args
from manman.domain.configuration.layering import Level, render
from manman.domain.configuration.strategies import LEVELS
from manman.domain.rendering import FileTemplate
from manman.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.domain.configuration.bindings import Binding
    from manman.domain.configuration.layering import Configuration
    from manman.domain.configuration.strategies import Patch, Strategy
    from manman.domain.parameters import Declared
    from manman.domain.rendering import Rendered

MAX_FILES_BYTES = 4 * 1024 * 1024
"""Of all files of one start together: they travel in one message."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A strategy with everything that is laid over it, in the order in which it applies."""

    strategy: Strategy
    patches: Sequence[Patch] = ()
    bindings: Sequence[Binding] = ()


def levels_of(
    declared: Sequence[Declared],
    deployment: Mapping[str, str],
    session: Mapping[str, str],
    **further: Mapping[str, str],
) -> list[Level]:
    """Return what is set at each level; `further` ones come last, under their names."""
    config = {parameter.key: parameter.default_value for parameter in declared if parameter.default_value}
    config |= {parameter.key: parameter.value for parameter in declared if parameter.value}
    named = dict(zip(LEVELS, (config, deployment, session), strict=True)) | further
    return [Level(name=name, values=values) for name, values in named.items()]


def configure(
    sources: Sequence[Source], *, levels: Sequence[Level], values: Mapping[str, str], env: Mapping[str, str]
) -> list[Configuration]:
    """Render every strategy, in the order given; each one of the environment sees what those before it made.

    Raises `Conflict` that names the strategy and the patch at fault.
    """
    found = []
    for source in sources:
        configuration = render(
            source.strategy,
            patches=source.patches,
            bindings=source.bindings,
            levels=levels,
            values=values,
            env=env,
        )
        if source.strategy.type == "env_vars":
            env = configuration.env
        found.append(configuration)
    return found


def apply(config: Rendered, configurations: Sequence[Configuration], volumes: Sequence[str]) -> Rendered:
    """Return a config's final values with every configuration in them.

    Arguments are added to the command, or to the argument line when there is no command. A file takes the place of one
    with the same path; one without content is left as it is on the host. `volumes` are the container paths that outlive
    a session: a file must be on one (`Conflict`).
    """
    args, command, env = config.args, list(config.command), config.env
    files = {file.path: file for file in config.files}
    for configuration in configurations:
        strategy = configuration.strategy
        if strategy.type == "cli_args":
            if command:
                command += cli_args.split(configuration.content)
            else:
                args = cli_args.overlay(args, configuration.content, "template")
        elif strategy.type == "env_vars":
            env = dict(configuration.env)
        elif configuration.content.strip():
            _check_place(configuration, volumes)
            files[configuration.target_path] = FileTemplate(
                path=configuration.target_path,
                content=configuration.content,
                mode=strategy.options.mode,
                merge=strategy.merge,
            )
    size = sum(len(file.content.encode()) for file in files.values())
    if size > MAX_FILES_BYTES:
        raise Conflict(f"the files of this config have {size} bytes together; use at most {MAX_FILES_BYTES}")
    return dataclasses.replace(config, args=args, command=tuple(command), env=env, files=tuple(files.values()))


def _check_place(configuration: Configuration, volumes: Sequence[str]) -> None:
    path, strategy = configuration.target_path, configuration.strategy
    if not any(path.startswith(volume.rstrip("/") + "/") for volume in volumes):
        raise Conflict(
            f"configuration strategy {strategy.strategy_id} ({strategy.name}) cannot be rendered: "
            f"no volume of the config covers {path}; add one, or choose a path inside one"
        )
