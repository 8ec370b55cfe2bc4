"""The preparation of a session: image, folders and files, network, wrapper, game; each step is idempotent.

It ends with a running game or with a `StartFailed` that says why in one word and in a sentence. It never cancels a call
to the engine half way: what was begun must be found by the clean-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import posixpath
import time
from typing import TYPE_CHECKING

import structlog

from manman.errors import Conflict, Invalid, ManManError, TimedOut, Unavailable
from manman.tracing import OFF
from manman_host import config_files
from manman_host.container_spec import BIND, base_labels
from manman_host.docker_engine import ENGINE_SOCKET, SESSION_MOUNT, DockerEngine, WrapperSpec
from manman_host.docker_images import ImageUnavailableError
from manman_host.session_folder import SOCKET_NAME, DataFolder, SessionFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from manman.messages.commands import StartSession
    from manman.tracing import Tracer
    from manman_host.announcer import Announcer
    from manman_host.container_spec import PlannedFile, SessionPlan
    from manman_host.identity import Identity
    from manman_host.settings import Settings
    from manman_host.wrapper_client import WrapperClient

WRAPPER_READY_TIMEOUT_S = 30.0
POLL_S = 0.05
TURN_POLL_S = 0.5
MAX_PROGRESS = 100
LEFTOVER_STOP_S = 10

log = structlog.get_logger(__name__)


class StartFailed(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """The session cannot run; `reason` is one word, `message` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep both for the report."""
        self.reason = reason
        self.message = message
        super().__init__(message)


class StoppedMeanwhile(Exception):  # noqa: N818 - somebody asked for it
    """A stop was asked for before the game ran."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What every session of a host needs."""

    settings: Settings
    identity: Identity
    engine: DockerEngine
    data: DataFolder
    announcer: Announcer
    starts: asyncio.Semaphore
    tracer: Tracer = OFF


@dataclasses.dataclass(frozen=True)
class Preparation:
    """One start. `phase(name, percent)` and `say(text)` tell people how far it is; 0 when that cannot be told."""

    parts: Parts
    command: StartSession
    plan: SessionPlan
    folder: SessionFolder
    token: str
    wrapper: WrapperClient
    stop_wanted: asyncio.Event
    phase: Callable[[str, int], None]
    say: Callable[[str], Awaitable[None]]

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of the places for starts, or for a stop, which needs no place."""
        while True:
            self._check_stop()
            try:
                await asyncio.wait_for(self.parts.starts.acquire(), TURN_POLL_S)
            except TimeoutError:
                continue
            break
        try:
            yield
        finally:
            self.parts.starts.release()

    async def make_wrapper(self) -> None:
        """Do everything up to the running wrapper: from then on the labels are the memory."""
        try:
            await self._pull()
            await self._clear_leftovers()
            await self._write_files()
            await self._make_containers()
        except ImageUnavailableError as error:
            raise StartFailed("image_unavailable", str(error)) from error
        except Invalid as error:
            raise StartFailed("invalid_command", str(error)) from error
        except Unavailable as error:
            raise StartFailed("engine_unavailable", str(error)) from error
        except Conflict as error:
            if "address pool" in str(error):
                advice = "the engine has no network left for this session: give it more with default-address-pools"
                raise StartFailed("no_network", f"{advice} ({error})") from error
            raise StartFailed("start_failed", str(error)) from error

    async def start_game(self) -> str:
        """Wait for the wrapper and have it start the game; return the game's container id."""
        self._check_stop()
        self.phase("start", 0)
        await self._wait_for_wrapper()
        self._check_stop()
        try:
            return await self.wrapper.start(self.plan.game, self.command.sgc_id)
        except Conflict as error:
            reason = (await self._reason()) or "start_failed"
            raise StartFailed(reason, str(error)) from error
        except (Unavailable, TimedOut) as error:
            raise StartFailed("wrapper_failed", f"the wrapper did not start the game: {error}") from error

    async def _pull(self) -> None:
        self._check_stop()
        self.phase("pull", 0)
        told: asyncio.Queue[str | None] = asyncio.Queue(MAX_PROGRESS)

        def say(text: str) -> None:
            if told.qsize() < MAX_PROGRESS - 1:
                told.put_nowait(text)

        async def tell() -> None:
            while (text := await told.get()) is not None:
                await self.say(f"[manman] {text}")

        async def give_up() -> None:
            await self.stop_wanted.wait()
            raise StoppedMeanwhile

        settings, image = self.parts.settings, self.command.game_config.image
        try:
            async with asyncio.TaskGroup() as group:
                giving_up = group.create_task(give_up())
                group.create_task(tell())
                await self.parts.engine.images.ensure(
                    image,
                    settings.image_pull_policy,
                    say=say,
                    percent=lambda percent: self.phase("pull", percent),
                    timeout_s=settings.image_pull_timeout_seconds,
                )
                giving_up.cancel()
                told.put_nowait(None)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _write_files(self) -> None:
        self._check_stop()
        self.phase("config", 0)
        engine, base, image = self.parts.engine, self.parts.data.inner, self.command.game_config.image
        owner = await engine.images.owner(image)
        for folder in self.plan.folders:
            await asyncio.to_thread(config_files.make_folder, base, folder, owner)
        for volume in self.plan.volumes:
            await engine.ensure_volume(volume, base_labels(self.parts.identity))
        for file in self.plan.files:
            content = await self._content(file, owner)
            if file.volume_type == BIND:
                path = posixpath.join(file.source, file.path)
                await asyncio.to_thread(config_files.write_file, base, path, content, file.mode, owner)
            else:
                await engine.put_file(image, file.source, file.path, content, mode=file.mode, owner=owner)

    async def _content(self, file: PlannedFile, owner: config_files.Owner | None) -> bytes:
        """Return what to write: the file's content, or that laid over what is there."""
        if not file.merge:
            return file.content.encode()
        if file.volume_type == BIND:
            path = posixpath.join(file.source, file.path)
            existing = await asyncio.to_thread(config_files.read_file, self.parts.data.inner, path, owner)
        else:
            limit = config_files.MAX_MERGED_BYTES
            existing = await self.parts.engine.read_file(self.command.game_config.image, file.source, file.path, limit)
        return config_files.merged(existing, file.content, file.merge)

    async def _make_containers(self) -> None:
        self._check_stop()
        self.phase("create", 0)
        await self.parts.engine.ensure_network(self.plan.network, self.plan.network_labels)
        if not await self.parts.engine.images.has(self.parts.settings.wrapper_image):
            raise StartFailed(
                "wrapper_unavailable",
                f"the wrapper's image {self.parts.settings.wrapper_image} is not on this host: build or load it there",
            )
        await self.parts.engine.run_wrapper(self.wrapper_spec())

    async def _clear_leftovers(self) -> None:
        """Remove what an earlier session of this deployment left; a game that still runs is a conflict.

        That comes before the first file is written, and nothing of a running game is touched.
        """
        self._check_stop()
        labels = {**base_labels(self.parts.identity), "manman.sgc_id": str(self.command.sgc_id)}
        found = await self.parts.engine.find(labels, kinds=("game", "wrapper"))
        others = [left for left in found if left.session_id != self.command.session_id]
        for left in others:
            if left.kind == "game" and left.status == "running" and not self.command.force:
                raise StartFailed(
                    "deployment_busy",
                    f"session {left.session_id} of this deployment still runs on the host: stop it first",
                )
        for left in others:
            log.warning("leftover_removed", name=left.name, of_session=left.session_id)
            await self.parts.engine.remove_container(left.id, stop_timeout_s=LEFTOVER_STOP_S)

    def wrapper_spec(self) -> WrapperSpec:
        """Return the session's wrapper container."""
        identity = self.parts.identity
        return WrapperSpec(
            name=self.plan.wrapper_name,
            image=self.parts.settings.wrapper_image,
            labels=self.plan.wrapper_labels,
            env={
                "SESSION_ID": str(self.command.session_id),
                "SGC_ID": str(self.command.sgc_id),
                "SERVER_ID": str(identity.server_id),
                "WRAPPER_TOKEN": self.token,
                "WRAPPER_SOCKET": f"{SESSION_MOUNT}/{SOCKET_NAME}",
                "DATA_DIR": SESSION_MOUNT,
                "DOCKER_SOCKET": ENGINE_SOCKET,
                "LOG_LEVEL": self.parts.settings.log_level,
            },
            folder=str(self.folder.outer),
            engine_socket=self.parts.settings.engine_socket,
        )

    async def _wait_for_wrapper(self) -> None:
        deadline = time.monotonic() + WRAPPER_READY_TIMEOUT_S
        problem = "its socket did not appear"
        while time.monotonic() < deadline:
            self._check_stop()
            if self.folder.socket.exists():
                try:
                    await self.wrapper.status(timeout_s=5.0)
                except ManManError as error:
                    problem = str(error)
                else:
                    return
            if await self.parts.engine.status(self.plan.wrapper_name) in {"exited", "dead", ""}:
                raise StartFailed("wrapper_failed", "the wrapper ended before it served: see its container's log")
            await asyncio.sleep(POLL_S)
        raise StartFailed("wrapper_failed", f"the wrapper did not serve in {WRAPPER_READY_TIMEOUT_S:g} s: {problem}")

    async def _reason(self) -> str:
        try:
            return (await self.wrapper.status()).reason
        except ManManError:
            return ""

    def _check_stop(self) -> None:
        if self.stop_wanted.is_set():
            raise StoppedMeanwhile
