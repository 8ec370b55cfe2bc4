"""Composition root of the wrapper: the engine, the state file, the game, the server. Read this to know what runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from manman import logs

from manman_wrapper.docker_game import DockerGame
from manman_wrapper.docker_http import DockerHttp
from manman_wrapper.log_reader import Limits
from manman_wrapper.servicer import WrapperControl
from manman_wrapper.serving import serve
from manman_wrapper.state import StateFile

if TYPE_CHECKING:
    from manman_wrapper.settings import Settings

log = structlog.get_logger(__name__)


async def main(settings: Settings) -> None:
    """Serve one session until told to stop; stopping the wrapper leaves its game running."""
    limits = Limits(settings.log_lines_per_second, settings.log_tail_lines, settings.log_tail_bytes)
    state_file = StateFile(Path(settings.data_dir) / "state.json", settings.session_id)
    socket = Path(settings.wrapper_socket)
    with logs.bind(session_id=settings.session_id, server_id=settings.server_id):
        async with DockerGame(DockerHttp(settings.docker_socket), state_file, limits) as game:
            servicer = WrapperControl(game, settings.session_id)
            async with serve(servicer, socket=socket, token=settings.wrapper_token.get_secret_value()):
                log.info("serving", socket=str(socket))
                await asyncio.Event().wait()
