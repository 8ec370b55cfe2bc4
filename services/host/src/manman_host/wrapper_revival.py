"""Gets a session's wrapper to run and to answer again. Its folder and its game stay as they are.

When to do that, and what follows from what the wrapper then says, is `session_runner`'s business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from manman.errors import ManManError, TimedOut, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from manman_host.docker_engine import WrapperSpec
    from manman_host.session_folder import Plan, SessionFolder
    from manman_host.session_start import Parts
    from manman_host.wrapper_client import WrapperClient

ANSWER_TIMEOUT_S = 5.0
SILENCES_BEFORE_RESTART = 5

log = structlog.get_logger(__name__)


class WrapperRevival:
    """Revives one session's wrapper; counts how often in a row it runs without an answer."""

    def __init__(
        self,
        parts: Parts,
        accepted: Plan,
        folder: SessionFolder,
        wrapper: WrapperClient,
        spec: Callable[[], WrapperSpec],
    ) -> None:
        """Nothing happens before `revive`; `spec` gives the container to make."""
        self._engine = parts.engine
        self._accepted = accepted
        self._folder = folder
        self._wrapper = wrapper
        self._spec = spec
        self._silences = 0

    async def revive(self) -> None:
        """Start the wrapper if it has ended, and restart it if it does not answer for too long; else leave it."""
        try:
            if await asyncio.to_thread(self._folder.plan) is None:  # somebody removed the folder: games go on without
                await asyncio.to_thread(self._folder.create, self._accepted)
            spec = self._spec()
            if await self._engine.status(spec.name) not in {"running", "paused"}:
                log.warning("wrapper_restarted", reason="it had ended")
                await self._engine.run_wrapper(spec)
                self._silences = 0
                return
            try:
                await self._wrapper.status(timeout_s=ANSWER_TIMEOUT_S)
            except (Unavailable, TimedOut):
                self._silences += 1
            else:
                self._silences = 0
            if self._silences >= SILENCES_BEFORE_RESTART:
                log.warning("wrapper_restarted", reason="it did not answer")
                self._silences = 0
                await self._engine.restart_container(spec.name)
        except (ManManError, OSError) as error:
            log.warning("wrapper_not_revived", reason=str(error))
