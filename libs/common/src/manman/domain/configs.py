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
RESTART_POLICIES = ("never", "on_crash", "always")

MAX_STOP_COMMAND_CHARACTERS = 1000
MAX_STOP_TIMEOUT_S = 3600
MAX_RESTART_ATTEMPTS = 100
MAX_RESTART_WINDOW_S = 86400
MAX_RESTART_BACKOFF_S = 3600

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Whether a game that ended by itself is started again; "" says nothing, 0 is the platform's default."""

    policy: str = ""
    max_attempts: int = 0
    window_s: int = 0
    backoff_s: int = 0


def check_image(image: str) -> list[Problem]:
    """Return what is wrong with an image reference."""
    if not image or any(character.isspace() for character in image):
        return [Problem("image", f"name a container image such as ghcr.io/me/game:1.2, not {image!r}")]
    return []


def check_environment(env: Mapping[str, str], field: str = "env_template") -> list[Problem]:
    """Return what is wrong with the names of an environment."""
    return [
        Problem(f"{field}.{name}", "a variable's name is not empty and holds no =")
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


def check_stop(signal: str, timeout_s: int, command: str = "") -> list[Problem]:
    """Return what is wrong with how a game is stopped."""
    problems = []
    if len(command) > MAX_STOP_COMMAND_CHARACTERS:
        text = f"use at most {MAX_STOP_COMMAND_CHARACTERS} characters, not {len(command)}"
        problems.append(Problem("stop_command", text))
    if signal and not _SIGNAL.fullmatch(signal):
        problems.append(Problem("stop_signal", f"name a signal such as SIGINT, not {signal!r}"))
    if not 0 <= timeout_s <= MAX_STOP_TIMEOUT_S:
        text = f"use at most {MAX_STOP_TIMEOUT_S} seconds, or 0 for the default, not {timeout_s}"
        problems.append(Problem("stop_timeout_seconds", text))
    return problems


def check_limits(limits: Mapping[str, int]) -> list[Problem]:
    """Return what is wrong with limits, by their names."""
    return [
        Problem(f"resources.{name.removesuffix('_limit')}", f"use a number, or 0 for none, not {limit}")
        for name, limit in limits.items()
        if limit < 0
    ]


def check_restart(wanted: RestartPolicy) -> list[Problem]:
    """Return what is wrong with a restart policy."""
    problems = []
    if wanted.policy not in ("", *RESTART_POLICIES):
        text = f"use one of {', '.join(RESTART_POLICIES)}, not {wanted.policy!r}"
        problems.append(Problem("restart_policy.policy", text))
    for name, value, most in (
        ("max_attempts", wanted.max_attempts, MAX_RESTART_ATTEMPTS),
        ("window_seconds", wanted.window_s, MAX_RESTART_WINDOW_S),
        ("backoff_seconds", wanted.backoff_s, MAX_RESTART_BACKOFF_S),
    ):
        if not 0 <= value <= most:
            text = f"use at most {most}, or 0 for the default, not {value}"
            problems.append(Problem(f"restart_policy.{name}", text))
    if not wanted.policy and wanted != RestartPolicy():
        problems.append(Problem("restart_policy.policy", "choose a policy, or leave the numbers out as well"))
    return problems


def check_volume(volume: Volume) -> list[Problem]:
    """Return what is wrong with a volume."""
    problems = []
    if not _VOLUME_NAME.fullmatch(volume.name):
        text = f"use letters, digits, _ . and -, beginning with a letter or digit, not {volume.name!r}"
        problems.append(Problem("name", text))
    problems += [Problem("container_path", text) for text in _container_path_complaints(volume.container_path)]
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
