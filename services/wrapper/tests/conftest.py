"""A tiny image on the real engine, and the wrapper's parts around a folder of their own."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest
from manman_wrapper.docker_http import DockerHttp
from manman_wrapper.log_reader import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("sh", "cat", "echo", "sleep", "seq", "kill", "env", "dd", "yes", "head", "printf", "id")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=os.environ["DOCKER_HOST"])  # noqa: TID251 - the test's own environment
    yield client
    client.close()


@pytest.fixture(scope="session")
def socket_path() -> str:
    return os.environ["DOCKER_HOST"].removeprefix("unix://")  # noqa: TID251 - the test's own environment


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """Import a rootfs of nothing but busybox: `sh`, `cat`, `seq` are enough to play a game server."""
    tag = "manman-test-echo:latest"
    if engine.images.list(name=tag):
        return tag
    busybox = shutil.which("busybox")
    assert busybox is not None, "install busybox-static"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for tool in TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            tar.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    engine.api.import_image_from_data(
        buffer.getvalue(), repository="manman-test-echo", tag="latest", changes=["ENV PATH=/bin"]
    )
    return tag


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short name: socket paths are limited to 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="mmw"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def docker_http(socket_path: str) -> DockerHttp:
    return DockerHttp(socket_path)


@pytest.fixture
def limits() -> Limits:
    return Limits(lines_per_second=5000, tail_lines=20_000, tail_bytes=8_000_000)


@pytest.fixture
def name(engine: docker.DockerClient) -> Iterator[str]:
    """Choose the name of this test's container, which is gone afterwards."""
    chosen = f"wrapper-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    for container in engine.containers.list(all=True, filters={"name": chosen}):
        container.remove(force=True)
