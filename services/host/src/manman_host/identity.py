"""Who this host is: the name it registers under is kept, so that a restart is never a new server.

The name decides: the API gives the same id to the same name. Kept beside the games' data, it survives a new container
with a new host name. The *boot id* is new in every process and orders the reports of one life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import structlog

from manman.bus.connection import Backoff
from manman.errors import ManManError, PermissionDenied, Unauthenticated
from manman.rpc.client import call
from manman.rpc.errors import RemoteFailure
from manman.v1 import api_pb2_grpc, servers_pb2
from manman_host.session_folder import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from manman.health import Component
    from manman_host.settings import Settings

log = structlog.get_logger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """What is remembered between lives."""

    name: str
    server_id: int = 0


class Identity(msgspec.Struct, frozen=True):
    """Who speaks: the server's id and name, its environment, and this life's boot id."""

    server_id: int
    name: str
    environment: str
    boot_id: UUID


def kept_name(file: Path, settings: Settings) -> str:
    """Return the name to register under: the one that is set, else the one kept, else a new one."""
    if settings.server_name:
        return settings.server_name
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept).name
    except (OSError, msgspec.MsgspecError):
        return settings.default_name


async def register(
    channel: grpc.aio.Channel,
    settings: Settings,
    capabilities: servers_pb2.ServerCapabilities,
    features: tuple[str, ...],
    *,
    file: Path,
    component: Component,
) -> Identity:
    """Ask the API who we are, for as long as it takes; `component` is down meanwhile."""
    name = kept_name(file, settings)
    request = servers_pb2.RegisterServerRequest(
        name=name,
        capabilities=capabilities,
        environment=settings.environment,
        features=features,
        public_address=settings.public_address,
    )
    api = api_pb2_grpc.ManManAPIStub(channel)
    backoff = Backoff(longest_s=15.0)
    while True:
        try:
            answer = await call(
                api.RegisterServer,
                request,
                timeout_s=settings.api_timeout_seconds,
                token=settings.grpc_auth_token.get_secret_value(),
            )
        except (ManManError, RemoteFailure) as error:
            component.down(f"the API at {settings.api_address} did not register this host: {error}{_advice(error)}")
            await backoff.pause()
        else:
            break
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, msgspec.json.encode(Kept(name, answer.server_id)))
    component.up()
    log.info("registered", server_id=answer.server_id, name=name)
    return Identity(answer.server_id, name, settings.environment, uuid4())


def _advice(error: Exception) -> str:
    refused = isinstance(error, Unauthenticated | PermissionDenied)
    return "; GRPC_AUTH_TOKEN must be an API token with the role host" if refused else ""
