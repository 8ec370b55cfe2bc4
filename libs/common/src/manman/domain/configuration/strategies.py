"""Strategies and patches: what may be saved, and the values that rendering works on. Parses nothing itself."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from typing import TYPE_CHECKING

from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TYPES = (
    "cli_args",
    "env_vars",
    "file_properties",
    "file_json",
    "file_yaml",
    "file_toml",
    "file_ini",
    "file_xml",
    "file_lua",
    "file_custom",
)
LEVELS = ("game_config", "server_game_config", "session")
"""Where a patch hangs; later levels win."""

_JSON = ("json_merge_patch", "json_patch")
FORMATS: Mapping[str, tuple[str, ...]] = {
    "cli_args": ("template", "replace"),
    "env_vars": ("template", "properties", "json_merge_patch"),
    "file_properties": ("template", "properties", "json_merge_patch"),
    "file_json": ("template", *_JSON),
    "file_yaml": ("template", "yaml_merge", *_JSON),
    "file_toml": ("template", *_JSON),
    "file_ini": ("template", "ini"),
    "file_xml": ("template", "xpath"),
    "file_lua": ("template",),
    "file_custom": ("template",),
}
"""The formats of patches that fit each type; `template` is text in the type's own syntax."""

MAX_TEXT_BYTES = 256 * 1024
"""Of a base and of a patch."""
MAX_YAML_BYTES = 64 * 1024
"""The same for YAML: reading it with its comments takes tens of milliseconds a kilobyte."""

_CHOICES = {"merge_strategy": ("deep", "shallow"), "array_merge": ("replace", "append")}
_MERGED_BY_HOSTS = ("file_properties", "file_ini")
_INDENT = re.compile(r"[1-8]")
_MODE = re.compile(r"0?[0-7]{3}")


class Unreadable(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """A text is not what its format asks for, or cannot be laid over another. Its text says what to do."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a strategy merges and writes."""

    shallow: bool = False
    append: bool = False
    indent: int = 2
    mode: str = "0644"

    @classmethod
    def of(cls, render_options: Mapping[str, str]) -> Options:
        """Read stored options; unknown ones are for others."""
        return cls(
            shallow=render_options.get("merge_strategy") == "shallow",
            append=render_options.get("array_merge") == "append",
            indent=int(render_options.get("indent") or 2),
            mode=render_options.get("mode") or "0644",
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one target is produced; see `merge` for what an empty `base` means."""

    strategy_id: int
    name: str
    type: str
    target_path: str = ""
    base: str = ""
    options: Options = Options()

    @property
    def is_file(self) -> bool:
        """Whether it produces a file."""
        return self.type.startswith("file_")

    @property
    def merge(self) -> str:
        """How the host lays the result over the file that it has; "" when the result is the whole file.

        Only without a base, and only for the two formats of lines. Not when keys are appended: they would be appended
        again at every start.
        """
        mergeable = self.type in _MERGED_BY_HOSTS and not self.base.strip() and not self.options.append
        return self.type.removeprefix("file_") if mergeable else ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A text laid over a strategy's base at one level. `target_path` moves the file; "" leaves it."""

    patch_id: int
    level: str
    content: str
    format: str = "template"
    target_path: str = ""


def check_strategy(*, strategy_type: str, target_path: str, render_options: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with a strategy, its texts aside."""
    problems = []
    if strategy_type not in TYPES:
        problems.append(Problem("strategy_type", f"use one of {', '.join(TYPES)}, not {strategy_type!r}"))
    elif strategy_type.startswith("file_"):
        problems += [Problem("target_path", text) for text in _path_complaints(target_path)]
    for name, choices in _CHOICES.items():
        value = render_options.get(name, "")
        if value and value not in choices:
            problems.append(Problem(f'render_options["{name}"]', f"use {' or '.join(choices)}, not {value!r}"))
    indent, mode = render_options.get("indent", ""), render_options.get("mode", "")
    if indent and not _INDENT.fullmatch(indent):
        problems.append(Problem('render_options["indent"]', f"use 1 to 8 blanks, not {indent!r}"))
    if mode and not _MODE.fullmatch(mode):
        problems.append(Problem('render_options["mode"]', f"write an octal mode such as 0644, not {mode!r}"))
    return problems


def check_format(strategy_type: str, patch_format: str) -> list[Problem]:
    """Return what is wrong with the format of a patch of a strategy of this type."""
    fitting: Sequence[str] = FORMATS[strategy_type]
    if patch_format in fitting:
        return []
    return [Problem("patch_format", f"a {strategy_type} strategy takes {', '.join(fitting)}, not {patch_format!r}")]


def check_size(field: str, strategy_type: str, text: str) -> list[Problem]:
    """Return what is wrong with the size of a text."""
    limit = MAX_YAML_BYTES if strategy_type == "file_yaml" else MAX_TEXT_BYTES
    if len(text.encode()) > limit:
        return [Problem(field, f"use at most {limit} bytes")]
    return []


def check_place(*, is_file: bool, container_path: str, path_override: str) -> list[Problem]:
    """Return what is wrong with the place of a patch; `container_path` is that of its volume, "" without one."""
    if not is_file and (path_override or container_path):
        return [
            Problem("path_override", "only a strategy that produces a file has a place; leave it and volume_id out")
        ]
    if ".." in path_override.split("/"):
        return [Problem("path_override", f"use a path without .., not {path_override!r}")]
    if path_override and not container_path:
        return [Problem("volume_id", "name the volume that path_override is on")]
    if path_override and not path_override.strip("/."):
        return [Problem("path_override", "name a file, not the volume itself")]
    return []


def place(*, target_path: str, container_path: str, path_override: str) -> str:
    """Return where a patch puts the file, "" for the strategy's own target.

    On a volume it is `path_override` below the volume. Without one it is the strategy's target, put below the volume
    unless it is there already.
    """
    if not container_path:
        return ""
    volume = container_path.rstrip("/")
    if not path_override and target_path.startswith(f"{volume}/"):
        return target_path
    return posixpath.normpath(f"{volume}/{(path_override or target_path).lstrip('/')}")


def _path_complaints(path: str) -> list[str]:
    if not path.startswith("/") or path.endswith("/"):
        return [f"use the file's absolute path inside the container, not {path!r}"]
    if posixpath.normpath(path) != path or path.startswith("//"):
        return [f"use a path without . .. and //, not {path!r}"]
    return []
