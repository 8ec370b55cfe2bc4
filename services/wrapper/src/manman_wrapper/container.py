"""What we ask the engine about one container; each call can be repeated, and patient ones wait for the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from manman.errors import Conflict
from manman_wrapper.docker_http import DockerHttp, EngineAwayError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFLICT, NOT_FOUND = 409, 404
CREATED = "created"
KILLED = 137
"""The exit code of what SIGKILL ended, sent by whomever."""
ENGINE_RETRY_S = 0.5
OOM_NEWS_S = 2.0
"""So long after an exit the engine may still hear that it was the kernel's doing, for want of memory."""

log = structlog.get_logger(__name__)


async def create_container(docker: DockerHttp, name: str, request: Mapping[str, Any]) -> str:
    """Create a container and return its id, or that of the container of this name if it has our session's label."""
    try:
        created = await docker.call("POST", "/containers/create", query={"name": name}, body=request)
    except EngineError as error:
        if error.status != CONFLICT:
            raise
        found = await docker.call("GET", f"/containers/{quote(name)}/json")
        label = "manman.session_id"
        if found["Config"]["Labels"].get(label) != request["Labels"].get(label):
            raise
        return str(found["Id"])
    return str(created["Id"])


async def start_container(docker: DockerHttp, container_id: str) -> None:
    """Start a created container."""
    await docker.call("POST", f"/containers/{quote(container_id)}/start")


async def remove_container(docker: DockerHttp, container_id: str) -> None:
    """Remove a container as far as that is possible."""
    with contextlib.suppress(EngineError, EngineAwayError):
        await docker.call("DELETE", f"/containers/{quote(container_id)}", query={"force": "1", "v": "1"})


async def inspect(docker: DockerHttp, container_id: str) -> Any:  # noqa: ANN401 - the engine's own JSON
    """Return what the engine knows about a container."""
    return await docker.call("GET", f"/containers/{quote(container_id)}/json")


async def inspect_patiently(docker: DockerHttp, container_id: str) -> Any:  # noqa: ANN401 - the engine's own JSON
    """Do the same, waiting for an engine that is away."""
    while True:
        try:
            return await inspect(docker, container_id)
        except EngineAwayError as error:
            log.warning("engine_away", error=str(error))
            await asyncio.sleep(ENGINE_RETRY_S)


async def inspect_ended(docker: DockerHttp, container_id: str, *, told_to: bool) -> Any:  # noqa: ANN401 - as above
    """Return the state of a container that has ended, and the cause if it was not told to.

    The engine hears of an exit and of a kill for want of memory in two ways. When the exit comes first, its state is
    written without the other, which is an event then and nothing else.
    """
    found = await inspect_patiently(docker, container_id)
    state = found["State"]
    if not told_to and state["ExitCode"] == KILLED and found["HostConfig"]["Memory"] and not state["OOMKilled"]:
        state["OOMKilled"] = await _hears_of_oom(docker, container_id, millis(state["FinishedAt"]) / 1000)
    return state


async def _hears_of_oom(docker: DockerHttp, container_id: str, ended_at_s: float) -> bool:
    query = {
        "since": f"{ended_at_s - OOM_NEWS_S:.3f}",
        "until": f"{ended_at_s + OOM_NEWS_S:.3f}",
        "filters": json.dumps({"container": [container_id], "event": ["oom"]}),
    }
    try:
        async with asyncio.timeout(2 * OOM_NEWS_S), docker.open("GET", "/events", query=query) as response:
            return bool(await response.body())
    except (EngineAwayError, EngineError, TimeoutError) as error:
        log.warning("cause_of_exit_unknown", error=str(error))
        return False


async def send_signal(docker: DockerHttp, container_id: str, name: str) -> None:
    """Send a signal, waiting for an engine that is away; a container that has ended or gone is fine.

    Raises `Conflict` when the engine refuses.
    """
    while True:
        try:
            await docker.call("POST", f"/containers/{quote(container_id)}/kill", query={"signal": name})
        except EngineAwayError as error:
            log.warning("engine_away", error=str(error))
            await asyncio.sleep(ENGINE_RETRY_S)
        except EngineError as error:
            if error.status not in {CONFLICT, NOT_FOUND}:
                raise Conflict(f"the engine did not send {name}: {error}") from error
            return
        else:
            return


async def stop_signal_of(docker: DockerHttp, container_id: str) -> str:
    """Return the signal that the image wants for a stop."""
    with contextlib.suppress(EngineError, EngineAwayError):
        return str((await inspect(docker, container_id))["Config"].get("StopSignal") or "SIGTERM")
    return "SIGTERM"


async def wait_for_exit(docker: DockerHttp, container_id: str, registered: asyncio.Event | None) -> None:
    """Return when the container has ended or is gone, however often the engine goes away meanwhile.

    With `registered` the container is about to be started: it is set when its exit cannot be missed any more. One that
    is not started yet does not run either; it is no ended one.
    """
    condition = "not-running" if registered is None else "next-exit"
    while True:
        try:
            path = f"/containers/{quote(container_id)}/wait"
            async with docker.open("POST", path, query={"condition": condition}) as response:
                if registered is not None:
                    registered.set()
                await response.body()
            state = (await inspect(docker, container_id))["State"]
            if not state["Running"] and state["Status"] != CREATED:
                return
        except EngineAwayError as error:
            log.warning("engine_away", error=str(error))
        except EngineError as error:
            if error.status != NOT_FOUND:
                raise
            return
        condition = "not-running"
        await asyncio.sleep(ENGINE_RETRY_S)


def millis(stamp: str) -> int:
    """Return the engine's time in Unix milliseconds; its zero time is year 1."""
    moment = datetime.fromisoformat(stamp)
    return int(moment.timestamp() * 1000) if moment.year > 1 else 0
