"""A start command becomes a plan: every name, label, mount and limit of a session. Pure: values in, values out.

Not here: doing it (`docker_engine`, `config_files`), or anything about the engine's API.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from typing import TYPE_CHECKING

from manman.domain.capabilities import check_extra, granted
from manman.errors import Invalid, Problem
from manman.v1 import values_pb2
from manman.v1 import wrapper_control_pb2 as pb
from manman_host.config_files import MERGES
from manman_host.session_folder import sgc_folder_name

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from manman.messages.commands import File, StartSession, Volume
    from manman_host.identity import Identity

BIND, NAMED = "bind", "named"
DEFAULT_FILE_MODE = 0o644
TMP = "/tmp"  # noqa: S108 - the game's own, inside its container
TMP_OPTIONS = "rw,exec,nosuid,nodev,size=64m,mode=1777"
"""Programs unpack libraries into it and load them: it must allow that."""
MEBI = 1024 * 1024
NANO_PER_MILLI = 1_000_000
VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
OCTAL = re.compile(r"0?[0-7]{3}")


@dataclasses.dataclass(frozen=True)
class PlannedFile:
    """A file to write before the start. `source` is a folder below the data folder, or the name of a volume.

    With `merge` the content is laid over the file that is there.
    """

    volume_type: str
    source: str
    path: str
    content: str
    mode: int
    merge: str = ""


@dataclasses.dataclass(frozen=True)
class SessionPlan:
    """All of one session's parts by name. `folders` are relative to the data folder."""

    network: str
    network_labels: dict[str, str]
    wrapper_name: str
    wrapper_labels: dict[str, str]
    game: pb.GamePlan
    folders: tuple[str, ...]
    volumes: tuple[str, ...]
    files: tuple[PlannedFile, ...]
    stop_grace_s: float


def base_labels(identity: Identity) -> dict[str, str]:
    """Return the labels that say whose a container is: a host touches nothing else."""
    return {
        "manman.managed_by": "manman-host",
        "manman.server_id": str(identity.server_id),
        "manman.environment": identity.environment,
    }


def plan_session(
    command: StartSession,
    identity: Identity,
    *,
    data_dir: Path,
    now: datetime,
    tty: bool = False,
    default_grace_s: float = 30.0,
    default_pids: int = 0,
) -> SessionPlan:
    """Work out the plan; raise `Invalid` with every problem found. `data_dir` is the engine's view of the folder."""
    problems = _problems(command)
    if problems:
        raise Invalid(problems)
    environment, config = identity.environment, command.game_config
    owner = [environment, str(identity.server_id), str(command.sgc_id)]
    sgc = sgc_folder_name(environment, command.sgc_id)
    wrapper_name = _name("wrapper", *owner)
    network = _name("session", environment, str(command.session_id))
    labels = {
        **base_labels(identity),
        "manman.session_id": str(command.session_id),
        "manman.sgc_id": str(command.sgc_id),
        "manman.host_boot_id": str(identity.boot_id),
        "manman.created_at": now.isoformat(timespec="seconds"),
    }
    sources = {volume.container_path: _source(volume, sgc, command, environment) for volume in config.volumes}
    game = pb.GamePlan(
        container_name=_name("game", *owner),
        image=config.image,
        entrypoint=config.entrypoint,
        command=_command(command),
        env=config.env_template,
        labels={**labels, "manman.type": "game", "manman.wrapper_id": wrapper_name},
        ports=[
            values_pb2.PortBinding(
                container_port=port.container_port, host_port=port.host_port, protocol=port.protocol.upper() or "TCP"
            )
            for port in command.server_game_config.port_bindings
        ],
        mounts=[_mount(volume, sources[volume.container_path], data_dir) for volume in config.volumes],
        network=network,
        memory_bytes=command.resources.memory_mb * MEBI,
        nano_cpus=command.resources.cpu_millicores * NANO_PER_MILLI,
        pids_limit=command.resources.pids or default_pids,
        stop_signal=command.stop_signal,
        tty=tty,
        aliases=["game"],
        capabilities=granted(
            without_default=command.isolation.no_capabilities, extra=command.isolation.extra_capabilities
        ),
        read_only_root=command.isolation.read_only_root,
        tmpfs=_tmpfs(command),
        init=command.isolation.init,
    )
    return SessionPlan(
        network=network,
        network_labels={**labels, "manman.type": "network"},
        wrapper_name=wrapper_name,
        wrapper_labels={**labels, "manman.type": "wrapper"},
        game=game,
        folders=tuple(dict.fromkeys(source for kind, source in sources.values() if kind == BIND)),
        volumes=tuple(dict.fromkeys(source for kind, source in sources.values() if kind == NAMED)),
        files=tuple(_file(file, sources) for file in config.files),
        stop_grace_s=float(command.stop_timeout_seconds) or default_grace_s,
    )


def _name(*parts: str) -> str:
    return "-".join(filter(None, parts))


def _command(command: StartSession) -> list[str]:
    config = command.game_config
    if config.command:
        return list(config.command)
    return ["/bin/sh", "-c", config.args_template] if config.args_template else []


def _tmpfs(command: StartSession) -> dict[str, str]:
    """Return the folders in memory: /tmp where nothing else can be written, unless a volume is there."""
    mounted = {volume.container_path.rstrip("/") for volume in command.game_config.volumes}
    return {TMP: TMP_OPTIONS} if command.isolation.read_only_root and TMP not in mounted else {}


def _kind(volume: Volume) -> str:
    return volume.volume_type or BIND


def _source(volume: Volume, sgc: str, command: StartSession, environment: str) -> tuple[str, str]:
    if _kind(volume) == NAMED:
        return NAMED, _name("manman-sgc", environment, str(command.sgc_id), volume.name)
    return BIND, posixpath.normpath(posixpath.join(sgc, volume.host_subpath or volume.name))


def _mount(volume: Volume, source: tuple[str, str], data_dir: Path) -> pb.Mount:
    kind, name = source
    return pb.Mount(
        source=str(data_dir / name) if kind == BIND else name,
        target=volume.container_path,
        read_only=volume.read_only,
        type="bind" if kind == BIND else "volume",
    )


def _file(file: File, sources: dict[str, tuple[str, str]]) -> PlannedFile:
    target = _covering(file.path, sources)
    kind, source = sources[target]
    mode = int(file.mode, 8) if file.mode else DEFAULT_FILE_MODE
    return PlannedFile(kind, source, posixpath.relpath(file.path, target), file.content, mode, file.merge)


def _covering(path: str, targets: dict[str, tuple[str, str]]) -> str:
    """Return the longest mount target that `path` lies below; empty if none does."""
    fitting = [target for target in targets if path.startswith(target.rstrip("/") + "/")]
    return max(fitting, key=len, default="")


def _problems(command: StartSession) -> list[Problem]:
    config = command.game_config
    found: list[Problem] = []
    if not config.image:
        found.append(Problem("game_config.image", "name an image"))
    targets: dict[str, tuple[str, str]] = {}
    for index, volume in enumerate(config.volumes):
        field = f"game_config.volumes[{index}]"
        found += _volume_problems(field, volume)
        if volume.container_path in targets:
            found.append(Problem(f"{field}.container_path", f"{volume.container_path} is mounted twice"))
        targets[volume.container_path] = ("", "")
    for index, file in enumerate(config.files):
        found += _file_problems(f"game_config.files[{index}]", file, targets)
    for index, port in enumerate(command.server_game_config.port_bindings):
        field = f"server_game_config.port_bindings[{index}]"
        if not (0 < port.container_port < 65536 and 0 < port.host_port < 65536):  # noqa: PLR2004 - ports end there
            found.append(Problem(field, "ports are 1 to 65535"))
        if port.protocol.upper() not in {"", "TCP", "UDP"}:
            found.append(Problem(f"{field}.protocol", "use TCP or UDP"))
    return found + check_extra(command.isolation.extra_capabilities, "isolation.extra_capabilities")


def _volume_problems(field: str, volume: Volume) -> list[Problem]:
    found = []
    if not _is_plain_absolute(volume.container_path):
        found.append(Problem(f"{field}.container_path", "give an absolute path without .."))
    if _kind(volume) not in {BIND, NAMED}:
        found.append(Problem(f"{field}.volume_type", "use bind or named"))
    if _kind(volume) == NAMED and not VOLUME_NAME.fullmatch(volume.name):
        found.append(Problem(f"{field}.name", "use letters, digits, dot, dash and underscore"))
    subpath = volume.host_subpath or volume.name
    if _kind(volume) == BIND and (not subpath or subpath.startswith("/") or ".." in subpath.split("/")):
        found.append(Problem(f"{field}.host_subpath", "give a path inside the deployment's folder, without .."))
    return found


def _file_problems(field: str, file: File, targets: dict[str, tuple[str, str]]) -> list[Problem]:
    found = []
    if not _is_plain_absolute(file.path):
        found.append(Problem(f"{field}.path", "give an absolute path without .."))
    elif not _covering(file.path, targets):
        found.append(Problem(f"{field}.path", f"no volume covers {file.path}: add one, or choose a path inside one"))
    if file.merge and file.merge not in MERGES:
        found.append(Problem(f"{field}.merge", f"this host lays {' and '.join(MERGES)} over files, not {file.merge!r}"))
    if file.mode and not OCTAL.fullmatch(file.mode):
        found.append(Problem(f"{field}.mode", "give octal text such as 0644"))
    return found


def _is_plain_absolute(path: str) -> bool:
    return path.startswith("/") and posixpath.normpath(path) == path.rstrip("/") and path.strip("/") != ""
