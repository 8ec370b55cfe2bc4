"""Images at the Docker engine: have one, by a pull where the policy says so, and tell which user it runs as."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound
from docker.utils import parse_repository_tag

from manman.errors import Conflict
from manman_host.image_user import needs_lookup, owner_of
from manman_host.pull_progress import PullProgress
from manman_host.registry_credentials import credentials_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manman_host.config_files import Owner
    from manman_host.docker_door import DockerDoor


PERCENT_STEP = 5
"""How much further a pull must be before it is told again: at most twenty reports for each."""


class ImageUnavailableError(Exception):
    """An image is neither here nor to be had; the text says what to do."""


class DockerImages:
    """The images of one engine. Raises what `DockerDoor.call` raises."""

    def __init__(self, door: DockerDoor, helper_labels: Mapping[str, str], registry_auth_file: str = "") -> None:
        """Use that engine; containers made to look into images carry `helper_labels`."""
        self._door = door
        self._helper_labels = helper_labels
        self._registry_auth_file = registry_auth_file

    async def ensure(
        self,
        image: str,
        policy: str,
        *,
        say: Callable[[str], None],
        percent: Callable[[int], None],
        timeout_s: float,
    ) -> None:
        """Make sure that the image is here. `policy`: always (falling back to a local one), if-not-present, never.

        `say` is told what happens, in words for people, `percent` how far a pull is, now and then. Raises
        `ImageUnavailableError`.
        """
        local = await self.has(image)
        if policy == "never" or (policy == "if-not-present" and local):
            if not local:
                raise ImageUnavailableError(
                    f"image {image} is not on this host and IMAGE_PULL_POLICY is never: load or build it there"
                )
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._pull(image, say, percent)
        except (Conflict, TimeoutError) as error:
            reason = str(error) or f"it took more than {timeout_s:g} s"
            if not local:
                raise ImageUnavailableError(
                    f"image {image} is not on this host and cannot be pulled ({reason}): "
                    "check its name and the registry, or load it on the host"
                ) from error
            say(f"the image could not be pulled, the one on this host is used ({reason})")

    async def has(self, image: str) -> bool:
        """Tell whether the image is on this host."""
        try:
            await self._door.call(lambda: self._door.client.images.get(image))
        except Conflict:
            return False
        return True

    async def _pull(self, image: str, say: Callable[[str], None], percent: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        repository, tag = parse_repository_tag(image)
        given_up = threading.Event()

        def pull() -> None:
            told, told_percent, progress = "", 0, PullProgress()
            credentials = credentials_for(repository, self._registry_auth_file)
            events = self._door.client.api.pull(
                repository, tag=tag or "latest", stream=True, decode=True, auth_config=credentials
            )
            for event in events:
                if given_up.is_set():  # hanging up ends the pull; else it holds a thread, and the end of this process
                    return
                if "error" in event:
                    raise APIError(str(event["error"]))
                status = str(event.get("status", ""))
                if status.startswith(("Pulling from", "Status:")) and status != told:
                    told = status
                    loop.call_soon_threadsafe(say, status.removeprefix("Status: "))
                if progress.see(event) >= told_percent + PERCENT_STEP:
                    told_percent = progress.percent
                    loop.call_soon_threadsafe(percent, told_percent)

        try:
            await self._door.call(pull)
        finally:
            given_up.set()

    async def owner(self, image: str) -> Owner | None:
        """Return the user and group that the image runs as; None when it names one that it does not have."""
        return await self._door.call(self._owner, image)

    def _owner(self, image: str) -> Owner | None:
        user = str(self._door.client.images.get(image).attrs["Config"].get("User") or "")
        if not needs_lookup(user):
            return owner_of(user)
        container = self._door.client.api.create_container(image, command=["-"], labels=dict(self._helper_labels))
        try:
            return owner_of(user, *(self._text_in(container["Id"], path) for path in ("/etc/passwd", "/etc/group")))
        finally:
            self._door.client.api.remove_container(container["Id"], force=True, v=True)

    def _text_in(self, container_id: str, path: str) -> str:
        """Return a text file of a container; empty when there is none."""
        try:
            stream, _ = self._door.client.api.get_archive(container_id, path)
        except NotFound:
            return ""
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            member = tar.getmembers()[0]
            file = tar.extractfile(member) if member.isfile() else None
            return file.read().decode(errors="replace") if file else ""
