"""What the host's bench measures: starts one at a time, a wrapper by itself, and many sessions at once."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from manman.domain.readiness import READY
from manman.errors import ManManError
from manman_devstack import images, talking_game
from manman_devstack.bench.figures import Crowd, Meter
from manman_host.docker_engine import ENGINE_SOCKET, SESSION_MOUNT, DockerEngine, WrapperSpec
from manman_host.session_folder import SOCKET_NAME, SessionFolder
from manman_host.wrapper_client import WrapperClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from manman_devstack.bench.figures import Memory
    from manman_devstack.bench.host_ground import Ground
    from manman_devstack.control import Json

MILESTONES: Mapping[str, Callable[[Json], bool]] = {
    "running": lambda session: session["status"] == "running",
    "ready": lambda session: (session["status"], session["phase"]) == ("running", READY),
}
"""What a session that starts becomes, one after the other, as a client can see it."""

ONE_WITHIN_S = 60.0
FIRST_OF_MANY_S = 60.0
EACH_OF_MANY_S = 6.0
"""So much longer than one session many may take, for each of them."""
WRAPPER_WITHIN_S = 30.0
WRAPPER_LOOK_S = 0.002
SETTLE_S = 5.0
WATCH_S = 20.0


@dataclass(frozen=True)
class Life:
    """One session, beside one bare container: seconds from the call to the answer, to each milestone, to the stop."""

    bare_s: float
    answered_s: float
    reached_s: Mapping[str, float]
    stopped_s: float


@dataclass(frozen=True)
class Load:
    """What was used during a while: share of one core by part, of the whole machine, and lines stored in a second."""

    cores: Mapping[str, float]
    machine_cores: float
    lines_per_s: float


@dataclass(frozen=True)
class Many:
    """Many sessions at once."""

    count: int
    reached_s: Mapping[str, float]
    idle: Load
    talking: Load
    memory: Mapping[str, Sequence[Memory]]
    memory_after: Mapping[str, Sequence[Memory]]
    lines: int
    all_stored_s: float
    taken_bytes: int
    available_bytes: int
    stopped_s: float
    removed_s: float


async def one_life(ground: Ground) -> Life:
    """Start the game without ManMan, then with it; stop both, and wait until nothing is left."""
    bare_s = await asyncio.to_thread(_bare_run, ground)
    (deployment_id,) = await ground.deploy(1)
    began = time.perf_counter()
    session_id = await ground.stage.start(deployment_id)
    answered_s = time.perf_counter() - began
    reached_s = {
        name: await ground.reached(session_id, wanted, name, ONE_WITHIN_S) - began
        for name, wanted in MILESTONES.items()
    }
    began = time.perf_counter()
    await ground.control.call("StopSession", session_id=session_id)
    stopped = await ground.reached(session_id, _stopped, "stopped", ONE_WITHIN_S)
    await ground.nothing_left(ONE_WITHIN_S)
    return Life(bare_s, answered_s, reached_s, stopped - began)


def _bare_run(ground: Ground) -> float:
    """Do what `docker run --detach` does, by an open connection; return the seconds until the game runs."""
    began = time.perf_counter()
    container = ground.engine.containers.run(talking_game.IMAGE, talking_game.command(), detach=True, stdin_open=True)
    took_s = time.perf_counter() - began
    container.remove(force=True)
    return took_s


async def wrapper_start_s(ground: Ground) -> float:
    """Start a wrapper by itself, as a host does; return the seconds until it gave its first answer."""
    name, token = f"wrapper-{secrets.token_hex(3)}", secrets.token_hex(8)
    path = ground.home.short_folder(name)
    folder, engine = SessionFolder(path, path), DockerEngine(ground.platform.docker_host)
    labels = dict(label.split("=") for label in ground.platform.labels)
    spec = WrapperSpec(
        name=name,
        image=images.WRAPPER,
        labels={**labels, "manman.session_id": "1"},
        env={
            "SESSION_ID": "1",
            "WRAPPER_TOKEN": token,
            "WRAPPER_SOCKET": f"{SESSION_MOUNT}/{SOCKET_NAME}",
            "DATA_DIR": SESSION_MOUNT,
            "DOCKER_SOCKET": ENGINE_SOCKET,
        },
        folder=str(folder.outer),
        engine_socket=ground.platform.docker_host.removeprefix("unix://"),
    )
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.run_wrapper(spec))
            answered = await _first_answer(folder, token)
    finally:
        await asyncio.to_thread(ground.engine.containers.get(name).remove, force=True)
    return answered - began


async def _first_answer(folder: SessionFolder, token: str) -> float:
    problem = "its socket did not appear"
    deadline = time.perf_counter() + WRAPPER_WITHIN_S
    while time.perf_counter() < deadline:
        if folder.socket.exists():
            async with WrapperClient(folder.socket, 1, token) as wrapper:
                try:
                    await wrapper.status()
                except ManManError as error:
                    problem = str(error)
                else:
                    return time.perf_counter()
        await asyncio.sleep(WRAPPER_LOOK_S)
    raise RuntimeError(f"the wrapper did not answer within {WRAPPER_WITHIN_S:g} s: {problem}")


async def many(ground: Ground, count: int) -> Many:
    """Start so many sessions at once, look at what they use when idle and when they talk, and stop them all."""
    deployment_ids = await ground.deploy(count)
    within_s = FIRST_OF_MANY_S + EACH_OF_MANY_S * count
    before = psutil.virtual_memory().available
    began = time.perf_counter()
    session_ids = await asyncio.gather(*(ground.stage.start(deployment_id) for deployment_id in deployment_ids))
    reached_s = {}
    for name, wanted in MILESTONES.items():
        reached = await ground.all_reached(session_ids, wanted, name, within_s)
        reached_s[name] = max(reached.values()) - began
    await asyncio.sleep(SETTLE_S)
    available = psutil.virtual_memory().available
    wrappers, games = ground.processes("wrapper"), ground.processes("game")
    crowds = {"wrappers": wrappers, "games": games, "host": Crowd([ground.pids()["host"]])}
    idle_memory = {name: crowd.memory() for name, crowd in crowds.items()}
    idle = await _load(ground, session_ids, crowds)
    lines = round(talking_game.LINES_PER_S * (WATCH_S + 2 * SETTLE_S))
    stored = await ground.lines_stored(session_ids) + lines * count
    began = time.perf_counter()
    await asyncio.gather(*(ground.stage.say(session_id, f"talk {lines}") for session_id in session_ids))
    await asyncio.sleep(SETTLE_S)
    talking = await _load(ground, session_ids, crowds)
    all_stored_s = await ground.all_stored(session_ids, stored, within_s) - began
    memory_after = {name: crowd.memory() for name, crowd in crowds.items()}
    began = time.perf_counter()
    await asyncio.gather(*(ground.control.call("StopSession", session_id=number) for number in session_ids))
    stopped = await ground.all_reached(session_ids, _stopped, "stopped", within_s)
    removed = await ground.nothing_left(within_s)
    return Many(
        count=count,
        reached_s=reached_s,
        idle=idle,
        talking=talking,
        memory=idle_memory,
        memory_after=memory_after,
        lines=lines * count,
        all_stored_s=all_stored_s,
        taken_bytes=before - available,
        available_bytes=available,
        stopped_s=max(stopped.values()) - began,
        removed_s=removed - began,
    )


async def _load(ground: Ground, session_ids: Sequence[int], crowds: Mapping[str, Crowd]) -> Load:
    """Look on for a while."""
    meters: dict[str, Crowd | Meter] = {name: Meter(pid) for name, pid in ground.pids().items()}
    meters |= {name: crowd for name, crowd in crowds.items() if name not in meters}
    lines, began = await ground.lines_stored(session_ids), time.perf_counter()
    used_s = {name: meter.seconds() for name, meter in meters.items()}
    machine_s = _busy_s()
    await asyncio.sleep(WATCH_S)
    elapsed_s = time.perf_counter() - began
    used_s = {name: meter.seconds() - used_s[name] for name, meter in meters.items()}
    machine_s = _busy_s() - machine_s
    lines = await ground.lines_stored(session_ids) - lines
    cores = {name: seconds / elapsed_s for name, seconds in used_s.items()}
    return Load(cores, machine_s / elapsed_s, lines / (time.perf_counter() - began))


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _stopped(session: Json) -> bool:
    return bool(session["status"] == "stopped")
