"""A tiny image on the real engine, and the wrapper's parts around a folder of their own."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from manman_devstack import debian_base, images
from manman_wrapper.docker_http import DockerHttp
from manman_wrapper.log_reader import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_host)
    yield client
    client.close()


@pytest.fixture(scope="session")
def socket_path(docker_host: str) -> str:
    return docker_host.removeprefix("unix://")


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """Return an image with a shell: `sh`, `cat`, `seq` are enough to play a game server."""
    images.ensure_base(engine, debian_base.DEBIAN)
    return debian_base.DEBIAN


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
