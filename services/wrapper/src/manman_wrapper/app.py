"""Composition root of the wrapper: the engine, the state file, the game, the server. Read this to know what runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from manman import logs
from manman.rpc.access import authenticate_by_token
from manman.rpc.chain import Chain
from manman.rpc.server import serve
from manman.rpc.services import Service
from manman.v1 import wrapper_control_pb2
from manman_wrapper.docker_game import DockerGame
from manman_wrapper.docker_http import DockerHttp
from manman_wrapper.log_reader import Limits
from manman_wrapper.servicer import WrapperControl
from manman_wrapper.state import StateFile

if TYPE_CHECKING:
    from manman_wrapper.settings import Settings

STOP_GRACE_S = 1.0
ENGINE_PATIENCE_S = 10.0
SOCKET_MODE = 0o666
"""Who may connect is decided by the folder and by the token: host and wrapper may run as different users."""

log = structlog.get_logger(__name__)


async def main(settings: Settings) -> None:
    """Serve one session until told to stop, or until the engine is out of reach; its game goes on all the same.

    An engine that was started anew may have made its socket anew, and a container keeps the old one that it was given:
    only a new start of this container gives it the new. Its host sees to that.
    """
    limits = Limits(settings.log_lines_per_second, settings.log_tail_lines, settings.log_tail_bytes)
    state_file = StateFile(Path(settings.data_dir) / "state.json", settings.session_id)
    with logs.bind(session_id=settings.session_id, server_id=settings.server_id):
        docker = DockerHttp(settings.docker_socket)
        async with DockerGame(docker, state_file, limits) as game:
            chain = Chain(authenticate_by_token(settings.wrapper_token))
            control = Service(
                wrapper_control_pb2.DESCRIPTOR.services_by_name["WrapperControl"],
                WrapperControl(game, settings.session_id),
            )
            async with serve(
                [control],
                chain,
                address=f"unix:{settings.wrapper_socket}",
                grace_s=STOP_GRACE_S,
                socket_mode=SOCKET_MODE,
            ):
                await docker.out_of_reach(ENGINE_PATIENCE_S)
                log.warning("engine_out_of_reach", patience_s=ENGINE_PATIENCE_S)
