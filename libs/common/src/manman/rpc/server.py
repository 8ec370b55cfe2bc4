"""A listening gRPC server: our services behind the chain, health, reflection, limits, and an orderly end.

Its end: health says NOT_SERVING, open streams end with UNAVAILABLE, running calls get `grace_s` to finish.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from manman import clock
from manman.errors import Invalid, Problem
from manman.rpc.chain import REQUEST_ID_KEY, Chain, request_id_of
from manman.rpc.errors import CallFailed, to_failure, to_grpc_status
from manman.rpc.services import type_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from manman.health import Component
    from manman.rpc.services import Service

SERVER_TIME_KEY = "x-server-time"
"""Metadata: an empty one asks for the time there, in RFC 3339, behind the answer."""
MAX_MESSAGE_BYTES = 10 * 1024 * 1024
MAX_CONCURRENT_CALLS = 2000
"""More are refused with RESOURCE_EXHAUSTED at once. Streams count."""
UNIX_SOCKET_PATH_LIMIT = 107
"""Bytes in the path of a unix socket on Linux, without the final zero."""

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not a way to share it
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Listening:
    """Where a server listens: `host:port` with the port in use, or `unix:path`."""

    address: str
    port: int


@contextlib.asynccontextmanager
async def serve(
    services: Sequence[Service],
    chain: Chain,
    *,
    address: str,
    credentials: grpc.ServerCredentials | None = None,
    component: Component | None = None,
    with_reflection: bool = True,
    grace_s: float = 5.0,
    socket_mode: int = 0o600,
) -> AsyncIterator[Listening]:
    """Serve `services` while the block runs.

    `address` is `host:port` (port 0 picks a free one) or `unix:/path`; who may open that socket is `socket_mode`.
    `component` is told when the server is up. Raises OSError when the address cannot be used.
    """
    server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS)
    for service in services:
        handlers = {method.name: _handler(service, method, chain) for method in service.methods()}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)],
        )
    names = [service.descriptor.full_name for service in services]
    probe = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probe, server)
    if with_reflection:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    listening = _listen(server, address, credentials)
    await server.start()
    if path := _socket_of(address):
        path.chmod(socket_mode)
    for name in ["", *names]:
        await probe.set(name, health_pb2.HealthCheckResponse.SERVING)
    if component is not None:
        component.up()
    log.info("grpc_served", address=listening.address, services=names)
    try:
        yield listening
    finally:
        if component is not None:
            component.down("stopping")
        await probe.enter_graceful_shutdown()
        chain.end_streams()
        await server.stop(grace_s)
        if path:
            path.unlink(missing_ok=True)


def tls_credentials(cert_path: str, key_path: str, client_ca_path: str = "") -> grpc.ServerCredentials | None:
    """Read what a server needs for TLS, once; None without a certificate.

    With `client_ca_path` only clients with a certificate of that authority get in. Raises Invalid for a file that
    cannot be read.
    """
    if not cert_path:
        return None
    pair = [(_read(key_path), _read(cert_path))]
    if not client_ca_path:
        return grpc.ssl_server_credentials(pair)
    return grpc.ssl_server_credentials(pair, _read(client_ca_path), require_client_auth=True)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Invalid([Problem(path, f"cannot be read: {error.strerror}")]) from error


def _listen(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> Listening:
    if path := _socket_of(address):
        if len(bytes(path)) > UNIX_SOCKET_PATH_LIMIT:
            raise OSError(f"the socket path is longer than {UNIX_SOCKET_PATH_LIMIT} bytes: {path}")
        path.unlink(missing_ok=True)
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
    return Listening(address, 0) if path else Listening(f"{address.rpartition(':')[0]}:{port}", port)


def _socket_of(address: str) -> Path | None:
    return Path(address.removeprefix("unix:")) if address.startswith("unix:") else None


def _handler(service: Service, method: MethodDescriptor, chain: Chain) -> grpc.RpcMethodHandler[Any, Any]:
    answer = service.unary(method)
    request_type = type_of(method.input_type)
    wrap = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler

    async def call(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Message | None:
        metadata = _metadata(context)
        context.set_trailing_metadata(((REQUEST_ID_KEY, metadata[REQUEST_ID_KEY]), *_server_time(metadata)))
        try:
            request = _parse(data, request_type, metadata[REQUEST_ID_KEY])
            result: Message = await chain.call(method, request, metadata, answer, timeout_s=_time_remaining(context))
        except CallFailed as failure:
            await _end(context, failure, _server_time(metadata))
        else:
            return result
        return None

    async def stream(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
        metadata = _metadata(context)
        # At once: the other side waits for it before it hands out the first item.
        await context.send_initial_metadata(((REQUEST_ID_KEY, metadata[REQUEST_ID_KEY]),))
        try:
            request = _parse(data, request_type, metadata[REQUEST_ID_KEY])
            async with contextlib.aclosing(chain.stream(method, request, metadata, answer)) as items:
                async for item in items:
                    yield item
        except CallFailed as failure:
            await _end(context, failure)

    return wrap(
        stream if method.server_streaming else call,
        request_deserializer=None,  # gRPC would answer INTERNAL for bytes that are no message
        response_serializer=type_of(method.output_type).SerializeToString,
    )


def _parse(data: bytes, request_type: type[Message], request_id: str) -> Message:
    """Return the request that `data` is; raises CallFailed."""
    try:
        return request_type.FromString(data)
    except DecodeError as error:
        name = request_type.DESCRIPTOR.full_name
        raise to_failure(Invalid([Problem("request", f"these bytes are no {name}")]), request_id) from error


async def _end(
    context: grpc.aio.ServicerContext[Any, Any], failure: CallFailed, said: Iterable[tuple[str, str]] = ()
) -> None:
    code, trailing = to_grpc_status(failure.status)
    await context.abort(code, failure.status.message, (*trailing, *said))


def _server_time(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what an answer says about our clock to those who ask, because they compare theirs with it."""
    return ((SERVER_TIME_KEY, clock.now().isoformat()),) if SERVER_TIME_KEY in metadata else ()


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """Return the call's metadata; it holds a request id in any case."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    metadata[REQUEST_ID_KEY] = request_id_of(metadata)
    return metadata


def _time_remaining(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    return context.time_remaining()
