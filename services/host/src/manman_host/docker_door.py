"""The SDK's client of one Docker engine, and how it is called: in a thread, because it blocks, with our own errors."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from manman.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_TIMEOUT_S = 60
POOL_SIZE = 32

ResultT = TypeVar("ResultT")


class DockerDoor:
    """One engine. Calls raise `Unavailable` while it is away and `Conflict` with its own words when it refuses."""

    def __init__(self, address: str) -> None:
        """Remember the address; nothing is opened before the first call."""
        self._address = address
        self._opening = threading.Lock()
        self._opened: docker.DockerClient | None = None

    @property
    def client(self) -> docker.DockerClient:
        """The SDK's client, made on first use: making it asks the engine for its version. For use within `call`."""
        with self._opening:
            if self._opened is None:
                self._opened = docker.DockerClient(
                    base_url=self._address, timeout=CALL_TIMEOUT_S, max_pool_size=POOL_SIZE, version="auto"
                )
            return self._opened

    async def call(self, function: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Run a function that uses the client in a thread and return its result."""
        try:
            return await asyncio.to_thread(function, *arguments)
        except ImageNotFound as error:
            raise Conflict(f"no such image: {error.explanation}") from error
        except APIError as error:
            raise Conflict(str(error.explanation or error)) from error
        except (DockerException, RequestException, OSError) as error:
            raise Unavailable(f"the Docker engine does not answer: {error}") from error
