"""Bad luck on purpose: kill a game's process on the Docker engine, behind the platform's back."""

from __future__ import annotations

import asyncio

import docker
from docker.errors import DockerException

from manman_devstack.demo.failure import DemoError


async def kill_game(docker_host: str, session_id: str, environment: str) -> str:
    """Send SIGKILL to the game container of the session; return the container's name.

    The container is found by its labels, as an operator with nothing but `docker ps` would find it. The environment is
    that of its host: several platforms may share an engine, and each counts its sessions from 1.
    """
    return await asyncio.to_thread(_kill_game, docker_host, session_id, environment)


def _kill_game(docker_host: str, session_id: str, environment: str) -> str:
    labels = ["manman.type=game", f"manman.session_id={session_id}", f"manman.environment={environment}"]
    try:
        engine = docker.DockerClient(base_url=docker_host)
        try:
            containers = engine.containers.list(filters={"label": labels})
            if len(containers) != 1:
                raise DemoError(f"there should be one container with {' and '.join(labels)}, not {len(containers)}")
            containers[0].kill(signal="SIGKILL")
            return str(containers[0].name)
        finally:
            engine.close()
    except DockerException as error:
        raise DemoError(f"the Docker engine at {docker_host} refused to kill the game: {error}") from error
