"""One wrapper as its host calls it: gRPC on the socket in the session's folder, with the session's token."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from manman.errors import Conflict
from manman.rpc import client
from manman.v1 import sessions_pb2, wrapper_control_pb2_grpc
from manman.v1 import wrapper_control_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path
    from types import TracebackType

CALL_TIMEOUT_S = 10.0
START_TIMEOUT_S = 120.0
KILL_TIMEOUT_S = 45.0


class WrapperClient:
    """Calls of one session. An async context manager; calls raise `Unavailable` while the wrapper is away."""

    def __init__(self, socket: Path, session_id: int, token: str) -> None:
        """Name the socket; nothing is dialled before the first call."""
        self._socket = socket
        self._session_id = session_id
        self._token = token
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the channel; it connects, and connects again, by itself."""
        channel = await self._stack.enter_async_context(client.channel(f"unix:{self._socket}"))
        self._stub = wrapper_control_pb2_grpc.WrapperControlStub(channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel; wrapper and game go on."""
        await self._stack.aclose()

    async def start(self, plan: pb.GamePlan, sgc_id: int) -> str:
        """Start the game, or take the one that runs; return its container's id. Raises `Conflict` with the reason."""
        request = pb.StartRequest(session_id=self._session_id, sgc_id=sgc_id, plan=plan)
        answer = await client.call(self._stub.Start, request, timeout_s=START_TIMEOUT_S, token=self._token)
        if not answer.success:
            raise Conflict(answer.error_message)
        return answer.container_id

    async def status(self, *, timeout_s: float = CALL_TIMEOUT_S) -> pb.GetStatusResponse:
        """Return how the game is, as compared with the engine."""
        request = pb.GetStatusRequest(session_id=self._session_id)
        return await client.call(self._stub.GetStatus, request, timeout_s=timeout_s, token=self._token)

    async def stop(self, *, command: str, grace_s: float, stop_signal: str) -> None:
        """Stop the game and return when it has ended."""
        request = pb.StopRequest(
            session_id=self._session_id,
            grace_seconds=max(1, round(grace_s)),
            stop_command=command,
            stop_signal=stop_signal,
        )
        answer = await client.call(self._stub.Stop, request, timeout_s=grace_s + KILL_TIMEOUT_S, token=self._token)
        if not answer.success:
            raise Conflict(answer.error_message)

    async def kill(self) -> None:
        """Kill the game and return when it has ended."""
        request = pb.KillRequest(session_id=self._session_id)
        answer = await client.call(self._stub.Kill, request, timeout_s=KILL_TIMEOUT_S, token=self._token)
        if not answer.success:
            raise Conflict(answer.error_message)

    async def send_input(self, data: bytes) -> None:
        """Write to the game's stdin; returns when it is written, raises `Conflict` when the game takes no input."""
        request = sessions_pb2.SendInputRequest(session_id=self._session_id, input=data)
        answer = await client.call(self._stub.SendInput, request, timeout_s=CALL_TIMEOUT_S, token=self._token)
        if not answer.success:
            raise Conflict(answer.error_message)

    def watch(self) -> AsyncGenerator[pb.WatchStatusResponse, None]:
        """Yield the status now and at every change."""
        request = pb.WatchStatusRequest(session_id=self._session_id)
        return client.stream(self._stub.WatchStatus, request, token=self._token)

    def output(self, since_seq: int) -> AsyncGenerator[pb.StreamOutputResponse, None]:
        """Yield the lines with numbers above `since_seq`, old and new, until the game has ended."""
        request = pb.StreamOutputRequest(session_id=self._session_id, stdout=True, stderr=True, since_seq=since_seq)
        return client.stream(self._stub.StreamOutput, request, token=self._token)
