"""A host that starts while there is no API to register at: it waits, says so, and goes on when there is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from manman.rpc import access
from manman.rpc.chain import Chain
from manman.rpc.server import serve
from manman.rpc.services import Service
from manman.v1 import api_pb2, api_pb2_grpc, servers_pb2
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import World


class Api(api_pb2_grpc.ManManAPIServicer):
    """Knows one server by whatever name."""

    def __init__(self, server_id: int) -> None:
        self._server_id = server_id

    async def RegisterServer(self, request: object, context: object) -> servers_pb2.RegisterServerResponse:
        return servers_pb2.RegisterServerResponse(server_id=self._server_id)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def problems(port: int) -> dict[str, Any]:
    """Return what keeps the host from being ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return {}
    except urllib.error.HTTPError as error:
        return dict(json.loads(error.read())["problems"])
    except OSError as error:
        raise AssertionError("no probe yet") from error


@contextlib.asynccontextmanager
async def host(world: World, **variables: str) -> AsyncIterator[None]:
    """Run the host as a machine runs it."""
    environment = {**os.environ, **world.variables, **variables}  # noqa: TID251 - a child of the test
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "manman_host", env=environment)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_a_host_that_starts_before_the_api_registers_when_it_comes_and_then_needs_it_no_more(
    world: World,
) -> None:
    address, probes = f"127.0.0.1:{free_port()}", free_port()
    service = Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], Api(world.server_id))
    async with host(world, API_ADDRESS=address, HEALTH_CHECK_PORT=str(probes)):
        await eventually(lambda: _waits_for(address, probes), timeout_s=20)
        async with serve([service], Chain(access.authenticate_by_mode("none")), address=address):
            await eventually(lambda: _none_left(probes), timeout_s=30)
        await world.start()
        await world.reported("running")
        await world.stop(force=True)
        await world.reported("stopped")


async def _none_left(port: int) -> None:
    assert not await asyncio.to_thread(problems, port)


async def _waits_for(address: str, port: int) -> None:
    assert address in (await asyncio.to_thread(problems, port)).get("api", "")
