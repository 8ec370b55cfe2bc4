"""The doctor's examination of the machine: the Docker engine, the data folder, the disk, the ports."""

from __future__ import annotations

import asyncio
import errno
import getpass
import secrets
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from manman.errors import Conflict, ManManError
from manman_host.docker_engine import DockerEngine
from manman_host.finding import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manman_host.settings import Settings

OLDEST_ENGINE = (20, 10)
GIBI = 1024**3
LITTLE_DISK_BYTES, NO_DISK_BYTES = 5 * GIBI, GIBI
MAX_PORTS_NAMED = 8
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


async def engine(settings: Settings) -> list[Finding]:
    """Look at the socket, the version, what an engine's restart does to games, and the wrapper's image."""
    path = settings.docker_host.removeprefix("unix://")
    problem = await asyncio.to_thread(_socket_problem, path)
    if problem:
        return [Finding("engine", FAIL, problem)]
    docker = DockerEngine(settings.docker_host)
    try:
        facts = await docker.facts()
        has_wrapper = await docker.images.has(settings.wrapper_image)
    except ManManError as error:
        return [Finding("engine", FAIL, f"{path}: {error}")]
    old = _version(facts.version) < OLDEST_ENGINE
    oldest = ".".join(map(str, OLDEST_ENGINE))
    return [
        Finding("engine", WARN, f"version {facts.version} is older than {oldest}, which this host was made for")
        if old
        else Finding("engine", OK, f"version {facts.version} answers"),
        Finding("engine restart", OK, "games outlive a restart of the engine")
        if facts.live_restore
        else Finding(
            "engine restart", WARN, 'a restart of the engine ends all games: set "live-restore": true in daemon.json'
        ),
        Finding("wrapper image", OK, f"{settings.wrapper_image} is here")
        if has_wrapper
        else Finding("wrapper image", FAIL, f"{settings.wrapper_image} is not here: build, load or pull it"),
    ]


def _socket_problem(path: str) -> str:
    """Return what keeps us from the engine's socket; empty when it can be opened."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(path)
    except FileNotFoundError:
        return f"there is no {path}: install and start Docker, or set DOCKER_HOST"
    except PermissionError:
        return f"{getpass.getuser()} may not open {path}: run the host as root, or add the user to the socket's group"
    except OSError as error:
        return f"nobody answers at {path} ({error.strerror or error}): start Docker"
    return ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


async def data_folder(settings: Settings) -> list[Finding]:
    """Write into the data folder, and look whether the engine sees the same one. The path's length is a setting's."""
    inner, outer = Path(settings.inner_data_dir), settings.host_data_dir
    marker = f".doctor-{secrets.token_hex(4)}"
    try:
        await asyncio.to_thread(_mark, inner, marker)
    except OSError as error:
        text = f"{getpass.getuser()} cannot write to {inner} ({error.strerror}): make it, or give it to that user"
        return [Finding("data folder", FAIL, text)]
    found = [Finding("data folder", OK, f"{inner} can be written to")]
    try:
        same = await DockerEngine(settings.docker_host).sees_file(settings.wrapper_image, outer, marker)
    except Conflict as error:
        text = f"the engine cannot mount {outer} ({error}): HOST_DATA_DIR is the folder as the engine's machine sees it"
        found.append(Finding("same folder", WARN if "no such image" in str(error).lower() else FAIL, text))
    except ManManError as error:
        found.append(Finding("same folder", WARN, f"not looked at, because the engine is away: {error}"))
    else:
        advice = f"the engine sees another folder at {outer}: mount the machine's folder into this container there"
        text = f"the engine sees it as {outer}" if same else advice
        found.append(Finding("same folder", OK if same else FAIL, text))
    finally:
        await asyncio.to_thread((inner / marker).unlink, missing_ok=True)
    return found


def _mark(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("made by the doctor, who takes it away again\n")


async def disk(settings: Settings) -> list[Finding]:
    """Look at the free space where the data folder is."""
    free_bytes = await asyncio.to_thread(_free_bytes, Path(settings.inner_data_dir))
    return [judge_disk(free_bytes, settings.inner_data_dir)]


def judge_disk(free_bytes: int, folder: str) -> Finding:
    """Return the finding about that much free space where `folder` is."""
    text = f"{free_bytes / GIBI:.1f} GiB free where {folder} is"
    if free_bytes < NO_DISK_BYTES:
        return Finding("disk", FAIL, f"{text}: make room, games cannot save")
    if free_bytes < LITTLE_DISK_BYTES:
        return Finding("disk", WARN, f"{text}: make room soon")
    return Finding("disk", OK, text)


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


async def ports(settings: Settings) -> list[Finding]:
    """Try to take every port of the range, but those that our own games have."""
    if not settings.port_ranges:
        return [Finding("ports", WARN, "PORT_RANGE is not set: the API chooses from its DEFAULT_PORT_RANGE")]
    docker = DockerEngine(settings.docker_host)
    try:
        own = await docker.published_ports({"manman.managed_by": "manman-host"})
        bridge = (await docker.facts()).bridge
    except ManManError:
        own, bridge = frozenset(), ""
    if bridge and bridge not in {name for _, name in socket.if_nameindex()}:
        text = "not looked at: this container has a network of its own; run the doctor outside of it"
        return [Finding("ports", WARN, text)]
    wanted = [port for port in _wanted(settings) if port not in own]
    taken = await asyncio.to_thread(lambda: [port for port in wanted if not _is_free(*port)])
    if not taken:
        return [Finding("ports", OK, f"{len(wanted)} are free, {len(own)} are those of games here")]
    named = ", ".join(f"{port}/{protocol}" for port, protocol in taken[:MAX_PORTS_NAMED])
    more = f" and {len(taken) - MAX_PORTS_NAMED} more" if len(taken) > MAX_PORTS_NAMED else ""
    text = f"{named}{more} are taken by other programs: end those, or leave the ports out of PORT_RANGE"
    return [Finding("ports", FAIL if len(taken) == len(wanted) else WARN, text)]


def _wanted(settings: Settings) -> Iterator[tuple[int, str]]:
    for first, last, protocol in settings.port_ranges:
        for port in range(first, last + 1):
            for name in [protocol] if protocol else KINDS:
                yield port, name


def _is_free(port: int, protocol: str) -> bool:
    with socket.socket(socket.AF_INET, KINDS[protocol]) as probe:
        if protocol == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a game that has just ended holds nothing
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - games are published on every address
        except OSError as error:
            return error.errno not in {errno.EADDRINUSE, errno.EACCES}
    return True
