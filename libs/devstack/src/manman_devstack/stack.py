"""What the platform consists of when it runs on one machine: its processes and the environment of each.

Pure: values in, values out. Starting them is for `platform` (tests) and `command_line` (people).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manman_devstack.home import Home
from manman_devstack.object_store import ObjectStore

# In the order in which they are started; the reverse is the order in which they end.
SERVICES = ("api", "processor", "host", "ui")


@dataclass(frozen=True)
class Infrastructure:
    """What the platform stands on."""

    database_url: str
    amqp_url: str
    object_store: ObjectStore
    docker_host: str


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one platform on 127.0.0.1, and the range of ports that its games may get."""

    grpc: int
    rest: int
    ui: int
    probes: Mapping[str, int]
    games: str


@dataclass(frozen=True)
class Place:
    """What tells this platform from others on the same machine."""

    environment: str
    server_name: str
    data: Path
    wrapper_image: str


def choose_ports(home: Home, prefix: str = "", *, usual: bool = False) -> Ports:
    """Return ports for a platform in this home; the well-known ones where free when `usual`."""

    def port(name: str, preferred: int) -> int:
        return home.port(f"{prefix}{name}", preferred if usual else None)

    probes = {name: port(f"{name}-probes", 8091 + number) for number, name in enumerate(SERVICES)}
    return Ports(
        grpc=port("grpc", 50051),
        rest=port("rest", 8080),
        ui=port("ui", 8000),
        probes=probes,
        games=home.port_range(f"{prefix}games", first=27_000 if usual else None),
    )


def environments(infrastructure: Infrastructure, ports: Ports, place: Place) -> dict[str, dict[str, str]]:
    """Return the variables of each service."""
    common = {"LOG_FORMAT": "json", "HEALTH_CHECK_HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    database = {"PG_DATABASE_URL": infrastructure.database_url}
    bus = {"RABBITMQ_URL": infrastructure.amqp_url}
    store = infrastructure.object_store.environment
    api = f"127.0.0.1:{ports.grpc}"
    own: dict[str, dict[str, str]] = {
        "api": {
            **database,
            **bus,
            **store,
            "LISTEN_HOST": "127.0.0.1",
            "PORT": str(ports.grpc),
            "REST_PORT": str(ports.rest),
            "GRPC_AUTH_MODE": "none",
        },
        "processor": {**database, **bus, **store},
        "host": {
            **bus,
            "API_ADDRESS": api,
            "SERVER_NAME": place.server_name,
            "ENVIRONMENT": place.environment,
            "PUBLIC_ADDRESS": "127.0.0.1",
            "PORT_RANGE": ports.games,
            "HOST_DATA_DIR": str(place.data),
            "DOCKER_HOST": infrastructure.docker_host,
            "WRAPPER_IMAGE": place.wrapper_image,
            "IMAGE_PULL_POLICY": "if-not-present",
        },
        "ui": {"HOST": "127.0.0.1", "PORT": str(ports.ui), "CONTROL_API_URL": api},
    }
    return {name: {**common, **own[name], "HEALTH_CHECK_PORT": str(ports.probes[name])} for name in SERVICES}


def stack_env(infrastructure: Infrastructure, ports: Ports) -> str:
    """Return the text of `stack.env`: shell-sourceable, one variable a line."""
    variables = {
        "MANMAN_GRPC": f"127.0.0.1:{ports.grpc}",
        "MANMAN_REST": f"http://127.0.0.1:{ports.rest}",
        "MANMAN_UI": f"http://127.0.0.1:{ports.ui}",
        "RABBITMQ_URL": infrastructure.amqp_url,
        "PG_DATABASE_URL": infrastructure.database_url,
        **infrastructure.object_store.environment,
        "DOCKER_HOST": infrastructure.docker_host,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(["# Written by `make up`; the addresses of the platform that it started.", *lines, ""])
