"""What a host has made at the Docker engine: networks, volumes, wrappers, and how it finds what carries its labels.

Everything here can be repeated: what is there already is taken, what is gone already is gone. Games are started by
wrappers; here they are only found and removed. Images are `docker_images`' business.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound
from docker.types import LogConfig, Mount

from manman.errors import Conflict
from manman_host.container_usage import Usage, read_usage
from manman_host.docker_door import DockerDoor
from manman_host.docker_images import DockerImages

if TYPE_CHECKING:
    from collections.abc import Mapping

    import docker
    from docker.models.containers import Container

    from manman_host.config_files import Owner

WRAPPER_MEMORY = "256m"
WRAPPER_PIDS = 128
SESSION_MOUNT = "/session"
ENGINE_SOCKET = "/var/run/docker.sock"


@dataclasses.dataclass(frozen=True)
class Found:
    """A container of ours. `status` is the engine's word: created, running, exited …; `address` if it has one."""

    id: str
    name: str
    kind: str
    session_id: int
    status: str
    created_at: datetime | None
    address: str = ""


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself; `bridge` is the name of its own network device, empty when it has none."""

    version: str
    live_restore: bool
    bridge: str


@dataclasses.dataclass(frozen=True)
class FoundNetwork:
    """A network of ours; `in_use` when a container is on it."""

    id: str
    name: str
    session_id: int
    created_at: datetime | None
    in_use: bool


@dataclasses.dataclass(frozen=True)
class WrapperSpec:
    """A wrapper container: `folder` and `engine_socket` are paths on the engine's machine."""

    name: str
    image: str
    labels: Mapping[str, str]
    env: Mapping[str, str]
    folder: str
    engine_socket: str


class DockerEngine:
    """One engine. Calls raise `Unavailable` while it is away and `Conflict` with its own words when it refuses."""

    def __init__(self, address: str, labels: Mapping[str, str] | None = None, *, registry_auth_file: str = "") -> None:
        """Remember the address; nothing is opened before the first call. `labels` say whose the helpers are."""
        self._door = DockerDoor(address)
        self._helper_labels = {**(labels or {}), "manman.type": "helper"}
        self.images = DockerImages(self._door, self._helper_labels, registry_auth_file)

    @property
    def _client(self) -> docker.DockerClient:
        return self._door.client

    async def version(self) -> str:
        """Return the engine's version; this is also the question whether it answers."""
        return str(await self._door.call(lambda: self._client.version()["Version"]))

    async def facts(self) -> EngineFacts:
        """Return the engine's version, whether containers outlive its restart, and the name of its bridge."""

        def look() -> EngineFacts:
            info = self._client.info()
            bridges = self._client.networks.list(names=["^bridge$"])
            options = bridges[0].attrs.get("Options") or {} if bridges else {}
            return EngineFacts(
                version=str(info["ServerVersion"]),
                live_restore=bool(info.get("LiveRestoreEnabled")),
                bridge=str(options.get("com.docker.network.bridge.name", "")),
            )

        return await self._door.call(look)

    async def sees_file(self, image: str, folder: str, name: str) -> bool:
        """Tell whether the engine, when it mounts `folder`, finds a file of that name in it."""

        def look() -> bool:
            helper = self._client.containers.create(
                image, command=["-"], labels=self._helper_labels, mounts=[Mount("/folder", folder, type="bind")]
            )
            try:
                helper.get_archive(f"/folder/{name}")
            except NotFound:
                return False
            finally:
                helper.remove(force=True, v=True)
            return True

        return await self._door.call(look)

    async def published_ports(self, labels: Mapping[str, str]) -> frozenset[tuple[int, str]]:
        """Return the ports of this machine that containers with these labels have, with TCP or UDP."""
        filters = {"label": [f"{key}={value}" for key, value in labels.items()]}
        listed = await self._door.call(lambda: self._client.api.containers(filters=filters))
        found = [port for entry in listed for port in entry.get("Ports") or () if "PublicPort" in port]
        return frozenset((int(port["PublicPort"]), str(port["Type"]).upper()) for port in found)

    async def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make the session's network."""

        def make() -> None:
            if not self._client.networks.list(names=[f"^{name}$"]):
                self._client.networks.create(name, driver="bridge", labels=dict(labels))

        await self._door.call(make)

    async def ensure_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a named volume; it is never removed by a host."""
        await self._door.call(lambda: self._client.volumes.create(name, labels=dict(labels)))

    async def read_file(self, image: str, volume: str, path: str, limit: int) -> bytes | None:
        """Read up to `limit` + 1 bytes of a file in a named volume; None when there is none."""

        def read() -> bytes | None:
            helper = self._client.containers.create(
                image, command=["-"], labels=self._helper_labels, mounts=[Mount("/volume", volume)]
            )
            try:
                stream, stat = helper.get_archive(f"/volume/{path}")
                if stat is None or stat["linkTarget"] or stat["size"] > limit:
                    raise Conflict(f"{path} in volume {volume} is a link or has more than {limit} bytes: remove it")
                with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
                    member = tar.extractfile(tar.getmembers()[0])
                    return member.read() if member else None
            except NotFound:
                return None
            finally:
                helper.remove(force=True, v=True)

        return await self._door.call(read)

    async def put_file(
        self, image: str, volume: str, path: str, content: bytes, *, mode: int, owner: Owner | None
    ) -> None:
        """Write a file into a named volume, through a container that is made for it and never started."""

        def put() -> None:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), mode
                member.uid, member.gid = owner or (0, 0)
                tar.addfile(member, io.BytesIO(content))
            helper = self._client.containers.create(
                image, command=["-"], labels=self._helper_labels, mounts=[Mount("/volume", volume)]
            )
            try:
                helper.put_archive("/volume", buffer.getvalue())
            finally:
                helper.remove(force=True, v=True)

        await self._door.call(put)

    async def run_wrapper(self, spec: WrapperSpec) -> str:
        """Create and start a wrapper, or take the one that this session has already; return its id."""
        return await self._door.call(self._run_wrapper, spec)

    def _run_wrapper(self, spec: WrapperSpec) -> str:
        try:
            container = self._client.containers.get(spec.name)
            if container.labels.get("manman.session_id") != spec.labels["manman.session_id"]:
                raise APIError(f"the name {spec.name} is taken by another session's container")
        except NotFound:
            container = self._client.containers.create(
                spec.image,
                name=spec.name,
                environment=dict(spec.env),
                labels=dict(spec.labels),
                user="0:0",
                network_mode="none",
                mem_limit=WRAPPER_MEMORY,
                pids_limit=WRAPPER_PIDS,
                init=True,
                log_config=LogConfig(type="json-file", config={"max-size": "5m", "max-file": "2"}),
                mounts=[
                    Mount(SESSION_MOUNT, spec.folder, type="bind"),
                    Mount(ENGINE_SOCKET, spec.engine_socket, type="bind"),
                ],
            )
        container.start()
        return str(container.id)

    async def restart_container(self, name: str) -> None:
        """Kill a container that hangs and start it again."""

        def restart() -> None:
            try:
                self._client.containers.get(name).restart(timeout=0)
            except NotFound:
                return

        await self._door.call(restart)

    async def find(self, labels: Mapping[str, str], *, kinds: tuple[str, ...]) -> list[Found]:
        """Return our containers of these kinds that carry all of `labels`."""
        filters = {"label": [f"{key}={value}" for key, value in labels.items()]}
        listed = await self._door.call(lambda: self._client.api.containers(all=True, filters=filters))
        found = [_found(entry) for entry in listed]
        return [one for one in found if one.kind in kinds and _matches(listed, one.id, labels)]

    async def find_networks(self, labels: Mapping[str, str]) -> list[FoundNetwork]:
        """Return our networks that carry all of `labels`."""
        filters = {"label": ["manman.type=network", *(f"{key}={value}" for key, value in labels.items())]}

        def look() -> list[FoundNetwork]:
            return [
                _found_network(network.attrs) for network in self._client.networks.list(filters=filters, greedy=True)
            ]

        return await self._door.call(look)

    async def usage(self, container_id: str) -> Usage | None:
        """Return what a container has used so far, None when it does not run. It takes up to a second of waiting."""

        def look() -> Usage | None:
            return read_usage(self._client.api.stats(container_id, stream=False, one_shot=True))

        return await self._door.call(look)

    async def status(self, name: str) -> str:
        """Return the engine's word for a container's state, or empty when there is none of that name or id."""

        def look() -> str:
            try:
                return str(self._client.containers.get(name).status)
            except NotFound:
                return ""

        return await self._door.call(look)

    async def remove_container(self, name: str, *, stop_timeout_s: int | None = None) -> None:
        """Remove a container, killing it if need be, after a polite stop when a time is given for it.

        With it go the volumes without a name that its image asked for: no other container can ever find them.
        """

        def remove() -> None:
            try:
                container: Container = self._client.containers.get(name)
                if stop_timeout_s is not None and container.status == "running":
                    container.stop(timeout=stop_timeout_s)
                container.remove(force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in str(error):
                    raise

        await self._door.call(remove)

    async def remove_network(self, name: str) -> None:
        """Remove a network nobody is on; it may be gone already."""

        def remove() -> None:
            for network in self._client.networks.list(names=[f"^{name}$"]):
                network.remove()

        await self._door.call(remove)


def _found(entry: Mapping[str, Any]) -> Found:
    labels = entry.get("Labels") or {}
    return Found(
        id=str(entry["Id"]),
        name=str((entry.get("Names") or ["/"])[0]).lstrip("/"),
        kind=labels.get("manman.type", ""),
        session_id=_number(labels.get("manman.session_id", "")),
        status=str(entry.get("State", "")),
        created_at=_moment(labels.get("manman.created_at", "")),
        address=_address(entry),
    )


def _address(entry: Mapping[str, Any]) -> str:
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return next((str(each["IPAddress"]) for each in networks.values() if each.get("IPAddress")), "")


def _found_network(attributes: Mapping[str, Any]) -> FoundNetwork:
    labels = attributes.get("Labels") or {}
    return FoundNetwork(
        id=str(attributes["Id"]),
        name=str(attributes["Name"]),
        session_id=_number(labels.get("manman.session_id", "")),
        created_at=_moment(labels.get("manman.created_at", "")),
        in_use=bool(attributes.get("Containers")),
    )


def _matches(listed: list[dict[str, Any]], container_id: str, labels: Mapping[str, str]) -> bool:
    """Compare labels again: the engine takes the filter `label=x=` with an empty value for "has the label x"."""
    entry = next(one for one in listed if one["Id"] == container_id)
    return all((entry.get("Labels") or {}).get(key) == value for key, value in labels.items())


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
