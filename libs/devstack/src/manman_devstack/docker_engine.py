"""The Docker engine in use: the first one that answers, else a private one of ours (see `private_engine`)."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import docker

from manman_devstack import daemons, private_engine
from manman_devstack.home import Home, main_home
from manman_devstack.private_engine import answers


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers; `started` when this very call started it."""

    address: str
    started: bool = False

    @property
    def socket_path(self) -> str:
        """Its unix socket on this machine; empty when it is reached in another way."""
        return self.address.removeprefix("unix://") if self.address.startswith("unix://") else ""


def ensure(home: Home | None = None) -> Engine:
    """Return an engine that answers, a private one of that home when there is no other."""
    home = home or main_home()
    with (home.run / "docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        address = first_reachable(home)
        if address is not None:
            return Engine(address)
        start_private(home)
    return Engine(private_engine.address(home), started=True)


def start_private(home: Home) -> None:
    """Start the private engine of that home and return when it answers."""
    private_engine.prepare(home).start()


def end_private(home: Home) -> None:
    """Remove the private engine's containers and networks, and end it without a trace; its images stay."""
    if not private_engine.has_traces(home):
        return
    address = private_engine.address(home)
    if not answers(address):
        start_private(home)  # its containers outlived it: only an engine can remove them in order
    client = docker.DockerClient(base_url=address, timeout=120)
    try:
        for container in client.containers.list(all=True, ignore_removed=True):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        client.networks.prune()
    finally:
        client.close()
    daemons.end_process(home, private_engine.NAME, signal.SIGTERM, 30.0)
    private_engine.remove_traces(home)


def first_reachable(home: Home) -> str | None:
    """Return the address of the first engine that answers, or None."""
    return next((address for address in candidates(home) if answers(address)), None)


def candidates(home: Home) -> list[str]:
    """Return the addresses where an engine may be, in the order in which they are tried."""
    given = os.environ.get("DOCKER_HOST")
    if given:
        return [given]
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "docker.sock"
    return ["unix:///var/run/docker.sock", f"unix://{rootless}", private_engine.address(home)]


def remove_labelled(address: str, labels: Iterable[str], *, volumes: bool = False) -> None:
    """Remove the containers and networks, and if asked the named volumes, that carry all these labels (`key=value`)."""
    client = docker.DockerClient(base_url=address, timeout=120)
    filters: dict[str, str | list[str] | bool] = {"label": list(labels)}
    try:
        for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        for network in client.networks.list(filters=filters):
            with contextlib.suppress(docker.errors.NotFound):
                network.remove()
        for volume in client.volumes.list(filters=filters) if volumes else ():
            with contextlib.suppress(docker.errors.NotFound):
                volume.remove(force=True)
    finally:
        client.close()
