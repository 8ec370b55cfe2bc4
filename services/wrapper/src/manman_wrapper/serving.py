"""The wrapper's gRPC server: a unix socket, a bearer token, and nothing that a small process does not need."""

from __future__ import annotations

import contextlib
import hmac
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from manman.errors import Invalid, NotFound
from manman.v1 import wrapper_control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from manman_wrapper.servicer import WrapperControl

STOP_GRACE_S = 1.0
SOCKET_MODE = 0o666
"""Who may connect is decided by the folder and by the token: host and wrapper may run as different users."""


class _TokenCheck(grpc.aio.ServerInterceptor):
    """Turns away who does not send the token. With an empty token everybody may call."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}" if token else ""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - grpc's own type
        sent = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        if hmac.compare_digest(str(sent), self._expected) or not self._expected:
            return await continuation(handler_call_details)

        async def refuse(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "send this session's token")

        return grpc.unary_unary_rpc_method_handler(refuse)


class _ErrorMap(grpc.aio.ServerInterceptor):
    """Gives the two errors that our servicer raises their status; it lets everything else through."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - grpc's own type
        handler = await continuation(handler_call_details)
        if handler is None or handler.response_streaming:
            return handler

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401 - any message
            try:
                return await handler.unary_unary(request, context)
            except Invalid as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except NotFound as error:
                await context.abort(grpc.StatusCode.NOT_FOUND, str(error))

        return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


@contextlib.asynccontextmanager
async def serve(servicer: WrapperControl, *, socket: Path, token: str) -> AsyncIterator[None]:
    """Serve on `socket` for the block. A socket file left by an earlier life is replaced."""
    socket.unlink(missing_ok=True)  # noqa: ASYNC240 - a local inode, not worth a thread
    server = grpc.aio.server(interceptors=[_TokenCheck(token), _ErrorMap()])
    wrapper_control_pb2_grpc.add_WrapperControlServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    socket.chmod(SOCKET_MODE)  # noqa: ASYNC240 - the same
    try:
        yield
    finally:
        await server.stop(STOP_GRACE_S)
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 - the same
