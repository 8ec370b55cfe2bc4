"""WrapperControl over one `DockerGame`: unpack, call, present.

Failures of the game travel in the body (`success=false`). A call for another session, a broken request, and what may
succeed when it is tried again (`Unavailable`) are errors of the call itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from manman.errors import Conflict, Invalid, NotFound, Problem
from manman.v1 import sessions_pb2, wrapper_control_pb2_grpc
from manman.v1 import wrapper_control_pb2 as pb
from manman_wrapper.container_request import build_request
from manman_wrapper.state import RUNNING, STOPPING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from manman_wrapper.docker_game import DockerGame
    from manman_wrapper.output import Line
    from manman_wrapper.state import State


DEFAULT_GRACE_S = 30.0
LINES_AT_ONCE = 500
REFRESH_S = 5.0


class WrapperControl(wrapper_control_pb2_grpc.WrapperControlServicer):
    """The seven calls of a host to its wrapper."""

    def __init__(self, game: DockerGame, session_id: int) -> None:
        """Serve `game`, which belongs to `session_id`."""
        self._game = game
        self._session_id = session_id

    async def Start(self, request: pb.StartRequest, context: object) -> pb.StartResponse:
        """Start the planned game; repeated, say what is there."""
        self._check(request.session_id)
        if not request.HasField("plan"):
            raise Invalid([Problem("plan", "send the plan of the container: this wrapper works nothing out itself")])
        try:
            container_id = await self._game.start(request.plan.container_name, build_request(request.plan))
        except Conflict as error:
            return pb.StartResponse(success=False, error_message=str(error))
        return pb.StartResponse(success=True, container_id=container_id)

    async def Stop(self, request: pb.StopRequest, context: object) -> pb.StopResponse:
        """Stop the game and answer when it has ended."""
        self._check(request.session_id)
        try:
            if request.force:
                state = await self._game.kill()
            else:
                state = await self._game.stop(
                    command=request.stop_command,
                    grace_s=request.grace_seconds or DEFAULT_GRACE_S,
                    stop_signal=request.stop_signal,
                )
        except Conflict as error:
            return pb.StopResponse(success=False, error_message=str(error), exit_code=-1)
        return pb.StopResponse(success=True, exit_code=state.exit_code if state.container_id else -1)

    async def Kill(self, request: pb.KillRequest, context: object) -> pb.KillResponse:
        """Kill the game and answer when it has ended."""
        self._check(request.session_id)
        try:
            state = await self._game.kill()
        except Conflict as error:
            return pb.KillResponse(success=False, error_message=str(error), exit_code=-1)
        return pb.KillResponse(success=True, exit_code=state.exit_code if state.container_id else -1)

    async def SendInput(
        self,
        request: sessions_pb2.SendInputRequest,
        context: object,
    ) -> sessions_pb2.SendInputResponse:
        """Write to the game's stdin; success means that it was written."""
        self._check(request.session_id)
        try:
            await self._game.send_input(request.input)
        except Conflict as error:
            return sessions_pb2.SendInputResponse(success=False, error_message=str(error))
        return sessions_pb2.SendInputResponse(success=True)

    async def GetStatus(
        self,
        request: pb.GetStatusRequest,
        context: object,
    ) -> pb.GetStatusResponse:
        """Tell how the game is, after asking the engine."""
        self._check(request.session_id)
        return present(await self._game.look())

    async def WatchStatus(
        self,
        request: pb.WatchStatusRequest,
        context: object,
    ) -> AsyncIterator[pb.WatchStatusResponse]:
        """Yield the status now and at every change, for as long as the caller listens."""
        self._check(request.session_id)
        told: tuple[str, str] | None = None
        while True:
            state = self._game.state
            if (state.status, state.container_id) != told:
                told = (state.status, state.container_id)
                yield pb.WatchStatusResponse(status=present(state))
            else:
                await self._game.changed()

    async def StreamOutput(
        self,
        request: pb.StreamOutputRequest,
        context: object,
    ) -> AsyncIterator[pb.StreamOutputResponse]:
        """Yield the lines kept since a number, then new ones; what is no longer kept is one chunk without data."""
        self._check(request.session_id)
        seq, output = request.since_seq, self._game.output
        both = request.stdout == request.stderr
        while True:
            ended = output.ended
            if output.tail.first_seq > seq + 1:
                yield _gap(seq, output.tail.first_seq)
                seq = output.tail.first_seq - 1
            lines = output.tail.after(seq, LINES_AT_ONCE)
            for line in lines:
                seq = line.seq
                if both or line.is_stderr == request.stderr:
                    yield _chunk(line)
            if not lines and ended:
                yield pb.StreamOutputResponse(eof=True, seq=seq)
                return
            if not lines:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_S):
                await self._game.changed()
        except TimeoutError:
            return

    def _check(self, session_id: int) -> None:
        if session_id != self._session_id:
            raise NotFound("session in this wrapper", session_id)


def present(state: State) -> pb.GetStatusResponse:
    """Return the state as a message."""
    return pb.GetStatusResponse(
        status=state.status,
        container_id=state.container_id,
        exit_code=state.exit_code,
        is_running=state.status in {RUNNING, STOPPING},
        reason=state.reason,
        message=state.message,
        oom_killed=state.oom_killed,
        signal=state.signal,
        started_at=state.started_at,
        ended_at=state.ended_at,
        last_seq=state.last_seq,
        image_digest=state.image_digest,
    )


def _chunk(line: Line) -> pb.StreamOutputResponse:
    return pb.StreamOutputResponse(
        data=line.data,
        is_stderr=line.is_stderr,
        seq=line.seq,
        timestamp=line.timestamp_ms,
        truncated=line.truncated,
        skipped_lines=line.skipped,
    )


def _gap(seen: int, first: int) -> pb.StreamOutputResponse:
    return pb.StreamOutputResponse(seq=first - 1, skipped_lines=first - 1 - seen)
