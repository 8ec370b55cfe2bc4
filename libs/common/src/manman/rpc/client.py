"""A channel to another part of the platform, and calls that raise our own errors.

    async with client.channel("localhost:50051") as channel:
        api = ManManAPIStub(channel)
        answer = await client.call(api.GetServer, GetServerRequest(server_id=1), timeout_s=5)

A call that cannot be made raises `Unavailable`, one that takes too long `TimedOut`, and so on through the family.
Nothing is retried here: only the caller knows whether that is safe.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import grpc

from manman import tracing
from manman.errors import Invalid, Problem
from manman.rpc.access import AUTHORIZATION_KEY
from manman.rpc.chain import REQUEST_ID_KEY, current_request_id
from manman.rpc.errors import from_rpc_error
from manman.rpc.server import MAX_MESSAGE_BYTES, SERVER_TIME_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from manman.settings import RpcClientSettings

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),  # our own parts are never behind the internet's proxy
]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


@contextlib.asynccontextmanager
async def channel(
    address: str,
    *,
    use_tls: bool | None = None,
    ca_cert_path: str = "",
    server_name: str = "",
    cert_path: str = "",
    key_path: str = "",
) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to `address`: `host:port`, `http(s)://host:port` or `unix:/path`. Connects when first used.

    TLS is as `use_tls` says, else as the address says (only https turns it on). `ca_cert_path` replaces the system's
    authorities, `server_name` is the name expected in the certificate. `cert_path` and `key_path` are what this side
    shows to a server that asks for a certificate.
    """
    scheme, separator, rest = address.partition("://")
    target = rest if separator else address
    options = list(_OPTIONS)
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    if use_tls if use_tls is not None else scheme == "https":
        authorities, certificate, key = (_read(path) for path in (ca_cert_path, cert_path, key_path))
        credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
        opened = grpc.aio.secure_channel(target, credentials, options=options)
    else:
        opened = grpc.aio.insecure_channel(target, options=options)
    async with opened as ready:
        yield ready


@contextlib.asynccontextmanager
async def channel_to_api(settings: RpcClientSettings) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to the API as the settings say. Raises Invalid for a setting that gRPC cannot honour."""
    if settings.api_tls_skip_verify:
        advice = "gRPC always verifies; give the certificate's authority in API_CA_CERT_PATH"
        raise Invalid([Problem("API_TLS_SKIP_VERIFY", advice)])
    async with channel(
        settings.api_address,
        use_tls=settings.api_use_tls,
        ca_cert_path=settings.api_ca_cert_path,
        server_name=settings.api_tls_server_name,
        cert_path=settings.api_client_cert_path,
        key_path=settings.api_client_key_path,
    ) as opened:
        yield opened


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    *,
    timeout_s: float,
    token: str = "",
    wait_for_ready: bool = False,
) -> ResponseT:
    """Make one call; raises errors of `manman.errors`, or RemoteFailure for a bug on the other side.

    With `wait_for_ready` the call waits for a connection within its time instead of failing at once.
    """
    try:
        return await method(request, timeout=timeout_s, metadata=_metadata(token), wait_for_ready=wait_for_ready)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


class Probed(NamedTuple):
    """What a call told about the other side: the error it ended with, and the time there (None: it did not say)."""

    error: Exception | None
    server_time: datetime | None


async def probe(
    method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    *,
    timeout_s: float,
    token: str = "",
) -> Probed:
    """Make one call for what it tells about the other side; its answer is dropped and nothing is raised."""
    metadata = (*_metadata(token), (SERVER_TIME_KEY, ""))
    made = method(request, timeout=timeout_s, metadata=metadata)
    error: Exception | None = None
    try:
        await made
        trailing = await made.trailing_metadata()
    except grpc.aio.AioRpcError as failure:
        error, trailing = from_rpc_error(failure), failure.trailing_metadata()
    said = dict(trailing or ()).get(SERVER_TIME_KEY)
    return Probed(error, datetime.fromisoformat(said) if isinstance(said, str) else None)


async def stream(
    method: grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT],
    request: RequestT,
    *,
    timeout_s: float | None = None,
    token: str = "",
) -> AsyncGenerator[ResponseT, None]:
    """Make one streaming call; raises like `call`. Close it with `contextlib.aclosing` to end the call early."""
    call = method(request, timeout=timeout_s, metadata=_metadata(token))
    try:
        async for item in call:
            yield item
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        call.cancel()


def _read(path: str) -> bytes | None:
    """Return a file's content, None without a path. Raises Invalid for a file that cannot be read."""
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise Invalid([Problem(path, f"cannot be read: {error.strerror}")]) from error


def _metadata(token: str) -> grpc.aio.Metadata:
    metadata = grpc.aio.Metadata()
    if request_id := current_request_id():
        metadata.add(REQUEST_ID_KEY, request_id)
    if traceparent := tracing.current():
        metadata.add(tracing.TRACEPARENT, traceparent)
    if token:
        metadata.add(AUTHORIZATION_KEY, f"Bearer {token}")
    return metadata
