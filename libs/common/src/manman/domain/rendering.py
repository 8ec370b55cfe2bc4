"""Rendering: putting parameter values into the templates of a config.

A placeholder is exactly `{{name}}`: letters, digits, underscore, no blanks. One pass, no recursion, no escaping: a
value that looks like a placeholder stays as it is. A name without a value stays in the text.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z0-9_]+)\}\}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileTemplate:
    """A file for the container; only `is_template` files have placeholders. `mode` is octal text.

    With `merge` (properties or ini) the content is laid over the file as it is on the host.
    """

    path: str
    content: str
    mode: str = "0644"
    is_template: bool = False
    merge: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Everything of a config that may hold placeholders, without them."""

    args: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    env: dict[str, str]
    files: tuple[FileTemplate, ...]
    stop_command: str


def render_text(template: str, values: Mapping[str, str]) -> str:
    """Replace every known placeholder once; leave unknown ones."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def placeholders(template: str) -> set[str]:
    """Return the names a template asks for."""
    return set(_PLACEHOLDER.findall(template))


def render_config(
    *,
    args: str,
    command: Sequence[str],
    entrypoint: Sequence[str],
    env: Mapping[str, str],
    files: Sequence[FileTemplate],
    stop_command: str,
    values: Mapping[str, str],
) -> Rendered:
    """Render a whole config. Keys of the environment are names, not templates."""
    return Rendered(
        args=render_text(args, values),
        command=tuple(render_text(part, values) for part in command),
        entrypoint=tuple(render_text(part, values) for part in entrypoint),
        env={name: render_text(text, values) for name, text in env.items()},
        files=tuple(
            dataclasses.replace(file, content=render_text(file.content, values)) if file.is_template else file
            for file in files
        ),
        stop_command=render_text(stop_command, values),
    )
