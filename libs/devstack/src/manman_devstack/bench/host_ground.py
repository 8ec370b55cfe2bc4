"""Where the host's bench takes place: the real platform as it is shipped, and who looks on.

What a client sees is asked for through the API; containers and processes are counted at the engine and the kernel.
Every wait has a limit, and its error says what did not happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from manman_devstack import daemons, images, parts, postgres, private_engine, rabbitmq, talking_game
from manman_devstack.bench.figures import Crowd
from manman_devstack.control import by_grpc
from manman_devstack.eventually import eventually
from manman_devstack.home import main_home
from manman_devstack.onlooker import amqp
from manman_devstack.platform import Platform
from manman_devstack.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    import docker
    from docker.models.containers import Container

    from manman_devstack.control import Control, Json
    from manman_devstack.home import Home

ENDED = frozenset({"stopped", "crashed", "completed", "lost"})
ONLINE_WITHIN_S = 30.0
LOOK_S = 0.01
LOOK_AT_MANY_S = 0.2
PAGE = 100


@dataclass(frozen=True)
class Ground:
    """A platform with one host, and what the bench needs to work with it."""

    platform: Platform
    home: Home
    control: Control
    stage: Stage
    engine: docker.DockerClient
    server_id: int

    async def deploy(self, count: int) -> list[int]:
        """Deploy the game so many times; return the deployments' ids."""
        game = {
            "image": talking_game.IMAGE,
            "command": talking_game.command(),
            "stop_command": talking_game.STOP_COMMAND,
            "ready_pattern": talking_game.READY_PATTERN,
        }
        return [await self.stage.deployment(self.server_id, **game) for _ in range(count)]

    async def reached(self, session_id: int, wanted: Callable[[Json], bool], what: str, within_s: float) -> float:
        """Ask for a session until it is as wanted; return when that was (`perf_counter`).

        Raises:
            RuntimeError: it ended otherwise, or `within_s` is over; `what` says what did not happen.
        """
        deadline = time.perf_counter() + within_s
        while True:
            session = (await self.control.call("GetSession", session_id=session_id))["session"]
            now = time.perf_counter()
            if wanted(session):
                return now
            if session["status"] in ENDED or now > deadline:
                raise RuntimeError(f"session {session_id} was not {what} within {within_s:g} s: {_state(session)}")
            await asyncio.sleep(LOOK_S)

    async def all_reached(
        self, session_ids: Iterable[int], wanted: Callable[[Json], bool], what: str, within_s: float
    ) -> dict[int, float]:
        """Ask for all sessions of the host until these are as wanted; return when each was seen to be (`perf_counter`).

        Raises:
            RuntimeError: one ended otherwise, or `within_s` is over; it says how many are missing, and what of.
        """
        deadline = time.perf_counter() + within_s
        missing, reached = set(session_ids), dict[int, float]()
        while missing:
            sessions = await self._sessions()
            now = time.perf_counter()
            found = {number for number in missing if wanted(sessions[number])}
            reached |= dict.fromkeys(found, now)
            missing -= found
            failed = [sessions[number] for number in missing if sessions[number]["status"] in ENDED]
            if failed or (missing and now > deadline):
                one = failed[0] if failed else sessions[min(missing)]
                raise RuntimeError(
                    f"{len(missing)} of {len(missing) + len(reached)} sessions were not {what} within {within_s:g} s; "
                    f"one of them, {one['session_id']}: {_state(one)}"
                )
            if missing:
                await asyncio.sleep(LOOK_AT_MANY_S)
        return reached

    async def nothing_left(self, within_s: float) -> float:
        """Wait until the host has removed every container and network; return when that was (`perf_counter`)."""
        label = {"label": self.platform.labels}

        def left() -> tuple[int, int]:
            listed = self.engine.api.containers(all=True, filters=label)
            return len(listed), len(self.engine.api.networks(filters=label))

        async def gone() -> float:
            containers, networks = await asyncio.to_thread(left)
            if containers or networks:
                raise AssertionError(f"{containers} containers and {networks} networks were not removed")
            return time.perf_counter()

        return await eventually(gone, timeout_s=within_s)

    def containers(self, kind: str) -> list[Container]:
        """Return the running containers of a kind: "game" or "wrapper"."""
        return list(self.engine.containers.list(filters={"label": [*self.platform.labels, f"manman.type={kind}"]}))

    def processes(self, kind: str) -> Crowd:
        """Return the programs in these containers, below the init that some of them have."""
        return Crowd(_program(int(container.attrs["State"]["Pid"])) for container in self.containers(kind))

    def pids(self) -> Mapping[str, int]:
        """Return the processes of services and servers, by what people call them; those of others are not in it."""
        found = {
            "host": self.platform.pid("host"),
            "processor": self.platform.pid("processor"),
            "api": self.platform.pid("api"),
            "RabbitMQ": daemons.running_pid(self.home, rabbitmq.NAME),
            "Postgres": daemons.running_pid(self.home, postgres.NAME),
            "Docker engine": daemons.running_pid(main_home(), private_engine.NAME),
        }
        return {name: pid for name, pid in found.items() if pid is not None}

    async def all_stored(self, session_ids: Sequence[int], lines: int, within_s: float) -> float:
        """Wait until the broker has so many log lines of these sessions; return when it had (`perf_counter`)."""

        async def stored() -> float:
            found = await self.lines_stored(session_ids)
            if found < lines:
                raise AssertionError(f"the broker has {found} of {lines} lines")
            return time.perf_counter()

        return await eventually(stored, timeout_s=within_s)

    async def lines_stored(self, session_ids: Iterable[int]) -> int:
        """Return how many log lines of these sessions the broker has."""
        total = 0
        async with amqp(self.platform.amqp_url) as connection:
            channel = await connection.channel()
            for session_id in session_ids:
                stream = await channel.declare_queue(f"logs.session.{session_id}", passive=True)
                total += stream.declaration_result.message_count or 0
        return total

    async def _sessions(self) -> dict[int, Json]:
        found: list[Json] = []
        token = ""
        while token or not found:
            page = await self.control.call("ListSessions", server_id=self.server_id, page_size=PAGE, page_token=token)
            found += page["sessions"]
            token = page["next_page_token"]
        return {int(session["session_id"]): session for session in found}


@contextlib.asynccontextmanager
async def prepared() -> AsyncIterator[Ground]:
    """Start the platform with settings as shipped, wait for its host, and end everything afterwards."""
    home = parts.own_run_home()
    try:
        with contextlib.closing(images.connect(parts.docker())) as engine:
            images.ensure_base(engine, talking_game.IMAGE)
            async with (
                Platform(parts=("api", "processor", "host"), home=home) as platform,
                by_grpc(platform.grpc) as control,
            ):
                server_id = await _online(control, platform.server_name)
                yield Ground(platform, home, control, Stage(control), engine, server_id)
    finally:
        parts.end_run(home)


async def _online(control: Control, name: str) -> int:
    async def look() -> int:
        servers = (await control.call("ListServers"))["servers"]
        online = [
            int(server["server_id"]) for server in servers if (server["name"], server["status"]) == (name, "online")
        ]
        if not online:
            raise AssertionError("the host is ready, but the API does not say that it is online")
        return online[0]

    return await eventually(look, timeout_s=ONLINE_WITHIN_S)


def _program(pid: int) -> int:
    children = psutil.Process(pid).children()
    return children[0].pid if children else pid


def _state(session: Json) -> str:
    said = (session[name] for name in ("status", "phase", "status_reason", "status_message"))
    return ", ".join(str(word) for word in said if word)
