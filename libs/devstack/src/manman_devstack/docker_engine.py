"""The Docker engine in use: the first reachable one, else a private one of ours."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from manman_devstack.home import main_home


class NoEngineError(RuntimeError):
    """There is no Docker engine; the text says what to do."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers."""

    address: str


def ensure() -> Engine:
    """Return an engine that answers."""
    for address in candidates():
        if answers(address):
            return Engine(address)
    raise NoEngineError("no Docker engine answers: start one, or set DOCKER_HOST")


def candidates() -> list[str]:
    """Return the addresses where an engine may be, in the order in which they are tried."""
    given = os.environ.get("DOCKER_HOST")
    if given:
        return [given]
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "docker.sock"
    return ["unix:///var/run/docker.sock", f"unix://{rootless}", f"unix://{main_home().path / 'docker.sock'}"]


def answers(address: str) -> bool:
    """Return whether a Docker engine at this address answers a ping within two seconds."""
    parts = urlsplit(address)
    try:
        with socket.socket(socket.AF_UNIX if parts.scheme == "unix" else socket.AF_INET) as connection:
            connection.settimeout(2.0)
            connection.connect(parts.path if parts.scheme == "unix" else (parts.hostname, parts.port or 2375))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
