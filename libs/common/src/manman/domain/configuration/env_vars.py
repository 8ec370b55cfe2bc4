"""The environment: `NAME=value` lines, or a flat JSON merge patch in which null removes a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.configuration.lines import Lines
from manman.domain.configuration.properties import flat_json
from manman.domain.configuration.strategies import Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping


def overlay(env: Mapping[str, str], layer: str, layer_format: str) -> dict[str, str]:
    """Return the environment with a layer laid over it; variables that are there keep their place."""
    changes = flat_json(layer) if layer_format == "json_merge_patch" else _from_lines(layer)
    result = dict(env)
    for name, value in changes.items():
        if not name or "=" in name:
            raise Unreadable(f"a variable's name is not empty and holds no =, not {name!r}")
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def text_of(env: Mapping[str, str]) -> str:
    """Show an environment as lines; line ends inside values as backslash and n."""
    return "\n".join(f"{name}={value.replace(chr(10), chr(92) + 'n')}" for name, value in env.items())


def _from_lines(layer: str) -> dict[str, str | None]:
    changes: dict[str, str | None] = {}
    for number, line in enumerate(Lines.of(layer).lines, start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator:
            raise Unreadable(f"line {number} is not NAME=value")
        changes[name.rstrip()] = value.lstrip()
    return changes
