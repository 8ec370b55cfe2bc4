"""Configs and volumes: what may be saved.

Not its business: declared parameters (`manman.domain.parameters`), what is unique (the schema).
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.domain.rendering import FileTemplate

VOLUME_TYPES = ("bind", "named")

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MODE = re.compile(r"[0-7]{3,4}")
_SIGNAL = re.compile(r"SIG[A-Z0-9]+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A directory of the game. `host_subpath` "" means "use the name", `volume_type` "" means bind."""

    name: str
    container_path: str
    host_subpath: str = ""
    read_only: bool = False
    volume_type: str = ""
    description: str = ""


def check_image(image: str) -> list[Problem]:
    """Return what is wrong with an image reference."""
    if not image or any(character.isspace() for character in image):
        return [Problem("image", f"name a container image such as ghcr.io/me/game:1.2, not {image!r}")]
    return []


def check_environment(env: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with the names of an environment."""
    return [
        Problem(f"env_template.{name}", "a variable's name is not empty and holds no =")
        for name in env
        if not name or "=" in name
    ]


def check_files(files: Sequence[FileTemplate]) -> list[Problem]:
    """Return what is wrong with the files of a config."""
    problems = []
    seen: set[str] = set()
    for index, file in enumerate(files):
        field = f"files[{index}]"
        problems += [Problem(f"{field}.path", text) for text in _container_path_complaints(file.path)]
        if file.path in seen:
            problems.append(Problem(f"{field}.path", f"{file.path} is there twice; remove one"))
        seen.add(file.path)
        if file.mode and not _MODE.fullmatch(file.mode):
            problems.append(Problem(f"{field}.mode", f"write an octal mode such as 0644, not {file.mode!r}"))
    return problems


def check_stop(signal: str, timeout_s: int) -> list[Problem]:
    """Return what is wrong with how a game is stopped."""
    problems = []
    if signal and not _SIGNAL.fullmatch(signal):
        problems.append(Problem("stop_signal", f"name a signal such as SIGINT, not {signal!r}"))
    if timeout_s < 0:
        problems.append(Problem("stop_timeout_seconds", f"use seconds, or 0 for the default, not {timeout_s}"))
    return problems


def check_volume(volume: Volume, others: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with a volume; `others` maps the config's other container paths to their volumes' names."""
    problems = []
    if not _VOLUME_NAME.fullmatch(volume.name):
        text = f"use letters, digits, _ . and -, beginning with a letter or digit, not {volume.name!r}"
        problems.append(Problem("name", text))
    problems += [Problem("container_path", text) for text in _container_path_complaints(volume.container_path)]
    if volume.container_path in others:
        holder = others[volume.container_path]
        problems.append(Problem("container_path", f"{volume.container_path} is mounted by volume {holder} already"))
    if volume.host_subpath.startswith("/") or ".." in volume.host_subpath.split("/"):
        text = f"use a path below the deployment's folder, without .., not {volume.host_subpath!r}"
        problems.append(Problem("host_subpath", text))
    if volume.volume_type and volume.volume_type not in VOLUME_TYPES:
        problems.append(Problem("volume_type", f"use bind or named, not {volume.volume_type!r}"))
    return problems


def _container_path_complaints(path: str) -> list[str]:
    if not path.startswith("/") or path.rstrip("/") == "":
        return [f"use an absolute path inside the container, not {path!r}"]
    if ".." in path.split("/"):
        return [f"use a path without .., not {path!r}"]
    return []
