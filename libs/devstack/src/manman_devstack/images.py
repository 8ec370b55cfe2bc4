"""The images that the platform needs: bases, the wrapper, the example games; built only when their inputs changed.

An image carries a hash of what it was built from as a label; that label, not a time, says whether it is current.
Building uses the engine's classic builder through the Docker SDK: no client program, no plugin, no registry.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import docker

from manman_devstack import debian_base
from manman_devstack.home import REPOSITORY, main_home

WRAPPER = "manman-wrapper:dev"

_LABEL = "dev.manman.devstack.inputs"
_SLOW_S = 600

# What ends up in the wrapper's image: a change elsewhere must not build it anew.
_WRAPPER_INPUTS = (
    "Dockerfile",
    "uv.lock",
    "libs/common/pyproject.toml",
    "libs/common/src",
    "services/wrapper/pyproject.toml",
    "services/wrapper/src",
)


class BuildError(RuntimeError):
    """An image could not be built; the text ends with what the build printed."""


def connect(address: str) -> docker.DockerClient:
    """Return a client of the engine at that address, patient enough for builds."""
    return docker.DockerClient(base_url=address, timeout=_SLOW_S)


def ensure_wrapper(address: str) -> str:
    """Build the wrapper's image unless it is current; return its name."""
    with _client(address, WRAPPER) as client:
        wanted = content_hash(REPOSITORY, _WRAPPER_INPUTS)
        if debian_base.label(client, WRAPPER, _LABEL) != wanted:
            ensure_base(client, debian_base.PYTHON)
            print(f"building {WRAPPER} (20 to 60 s)", flush=True)
            _build(client, REPOSITORY, WRAPPER, wanted, {"SERVICE": "wrapper", "RUN_AS": "0"})
    return WRAPPER


def ensure_game(address: str, name: str) -> str:
    """Build the image of the example game of that name unless it is current; return the image's name."""
    return ensure_image(address, REPOSITORY / "examples/games" / name, f"manman-game-{name}:dev")


def ensure_image(address: str, folder: Path, tag: str) -> str:
    """Build the Dockerfile in that folder, which stands on Debian, unless the image is current; return its name."""
    with _client(address, tag) as client:
        wanted = content_hash(folder, ["."])
        if debian_base.label(client, tag, _LABEL) != wanted:
            ensure_base(client, debian_base.DEBIAN)
            print(f"building {tag} (10 to 40 s)", flush=True)
            _build(client, folder, tag, wanted, {})
    return tag


def copy(source: str, target: str, names: Sequence[str]) -> None:
    """Have the images of the engine at `source` at that of `target` too."""
    with closing(connect(source)) as given, closing(connect(target)) as taker:
        for name in names:
            if not debian_base.image_exists(taker, name):
                taker.images.load(b"".join(given.images.get(name).save(named=True)))


def game_names() -> list[str]:
    """Return the names of the example games that bring a Dockerfile."""
    return sorted(path.parent.name for path in (REPOSITORY / "examples/games").glob("*/Dockerfile"))


def ensure_base(client: docker.DockerClient, name: str) -> None:
    """Have a base image: the one that is there, else a pulled one, else one made from Debian packages."""
    with _one_at_a_time(name):
        if debian_base.image_exists(client, name) or debian_base.pull(client, name):
            return
        if name == debian_base.PYTHON:
            ensure_base(client, debian_base.DEBIAN)
            print(f"no registry: making {name} from Debian packages (about 15 s)", flush=True)
            debian_base.make_python(client)
        else:
            print(f"no registry: making {name} from Debian packages (about 20 s)", flush=True)
            debian_base.make_debian(client)


def content_hash(folder: Path, names: Sequence[str]) -> str:
    """Return a hash over the names, contents and modes of the files under these names in the folder."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" in file.parts:
                continue
            executable = bool(file.stat().st_mode & 0o100)
            digest.update(f"{file.relative_to(folder)}\0{executable}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _build(client: docker.DockerClient, folder: Path, tag: str, inputs: str, arguments: dict[str, str]) -> None:
    try:
        client.images.build(
            path=str(folder),
            tag=tag,
            buildargs=arguments,
            labels={_LABEL: inputs},
            rm=True,
            forcerm=True,
        )
    except docker.errors.BuildError as error:
        lines = [str(entry.get("stream", "")).rstrip() for entry in error.build_log if isinstance(entry, dict)]
        printed = "\n".join(line for line in lines if line)
        raise BuildError(f"building {tag} failed: {error.msg}\n{printed[-3000:]}") from error


@contextmanager
def _client(address: str, image: str) -> Iterator[docker.DockerClient]:
    """Give a client, while nobody else of this checkout builds that image."""
    client = connect(address)
    try:
        with _one_at_a_time(image):
            yield client
    finally:
        client.close()


@contextmanager
def _one_at_a_time(image: str) -> Iterator[None]:
    name = image.replace(":", "-").replace("/", "-")
    with (main_home().run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
