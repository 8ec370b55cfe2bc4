"""Infrastructure in containers, for a machine whose Docker engine can pull: no server programs need to be installed.

A container is found again by its name, so a second `make up` adopts what the first one started; `make down` removes it.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import docker

from manman_devstack import postgres, rabbitmq
from manman_devstack.home import Home

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POSTGRES_IMAGE = "postgres:15-alpine"
RABBITMQ_IMAGE = "rabbitmq:3.13-management-alpine"

_READY_WITHIN_S = 90.0
_AMQP, _MANAGEMENT = 5672, 15672


@dataclass(frozen=True)
class Recipe:
    """One kind of container: its image, its variables, and which of its ports gets which port here."""

    name: str
    image: str
    environment: Mapping[str, str]
    ports: Mapping[int, int]


def can_pull(address: str, image: str) -> bool:
    """Return whether the engine has this image or its registry answers for it within a few seconds."""
    client = docker.DockerClient(base_url=address, timeout=5)
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.get_registry_data(image)
        except (docker.errors.DockerException, OSError):
            return False
    finally:
        client.close()
    return True


def start_postgres(address: str, home: Home) -> str:
    """Have a Postgres container; return the URL of its maintenance database."""
    port = home.port("postgres-container")
    recipe = Recipe("postgres", POSTGRES_IMAGE, {"POSTGRES_HOST_AUTH_METHOD": "trust"}, {5432: port})
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    _start(address, home, recipe, lambda: postgres.answers(url))
    return url


def start_rabbitmq(address: str, home: Home) -> tuple[str, str]:
    """Have a RabbitMQ container; return its AMQP URL and its management URL."""
    ports = {_AMQP: home.port("rabbitmq-container"), _MANAGEMENT: home.port("rabbitmq-container-management")}
    _start(
        address,
        home,
        Recipe("rabbitmq", RABBITMQ_IMAGE, {}, ports),
        lambda: rabbitmq.answers(ports[_AMQP]) and rabbitmq.accepts(ports[_MANAGEMENT]),
    )
    return f"amqp://guest:guest@127.0.0.1:{ports[_AMQP]}/", f"http://guest:guest@127.0.0.1:{ports[_MANAGEMENT]}"


def labels(home: Home) -> list[str]:
    """Return the labels (`key=value`) of every container that was started for this home."""
    return [f"{key}={value}" for key, value in _labels(home).items()]


def _labels(home: Home) -> dict[str, str]:
    return {"dev.manman.devstack.home": hashlib.sha256(str(home.path).encode()).hexdigest()[:12]}


def _start(address: str, home: Home, recipe: Recipe, is_ready: Callable[[], bool]) -> None:
    # The library's reaper container would end ours with this process, and `make up` must outlive it.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    os.environ.setdefault("DOCKER_HOST", address)
    name = f"manman-{recipe.name}-{next(iter(_labels(home).values()))}"
    client = docker.DockerClient(base_url=address, timeout=60)
    try:
        with contextlib.suppress(docker.errors.NotFound):
            client.containers.get(name).start()
            _wait(name, is_ready)
            return
    finally:
        client.close()
    print(f"starting {recipe.image} in a container", flush=True)
    _container(recipe, name, _labels(home)).start()
    _wait(name, is_ready)


def _container(recipe: Recipe, name: str, its_labels: dict[str, str]) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - reads DOCKER_HOST when imported

    container = DockerContainer(recipe.image).with_name(name).with_kwargs(labels=its_labels)
    for key, value in recipe.environment.items():
        container = container.with_env(key, value)
    for inside, outside in recipe.ports.items():
        container = container.with_bind_ports(inside, outside)
    return container


def _wait(name: str, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"container {name} was not ready after {_READY_WITHIN_S:g} s: see `docker logs {name}`")
        time.sleep(0.2)
