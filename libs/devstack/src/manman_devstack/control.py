"""The control API for tests: one call, by REST or by gRPC, with the same plain values in and out.

    async with by_rest("http://127.0.0.1:8080") as control:
        answer = await control.call("GetSession", session_id=7)

Both raise the errors of `manman.errors`. Paths and verbs come from the descriptors, so a test that is parametrised with
both proves that the two doors lead to one room.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import grpc
import httpx2
from google.api import annotations_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2

from manman.rpc import client
from manman.rpc.errors import from_status
from manman.v1 import api_pb2

Json = dict[str, Any]

SERVICE = api_pb2.DESCRIPTOR.services_by_name["ManManAPI"]
TIMEOUT_S = 15.0


class Control(Protocol):
    """Something that makes calls of the control API."""

    async def call(self, method: str, **fields: object) -> Json:
        """Call `method`, named as in the proto, with JSON values; the answer has 64-bit numbers as text."""
        ...


class GrpcControl:
    """Calls over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: str, **fields: object) -> Json:
        """Make the call; zero values are in the answer."""
        found = SERVICE.methods_by_name[method]
        request = json_format.ParseDict(fields, _message(found.input_type)())
        stub: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = self._channel.unary_unary(
            f"/{SERVICE.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_message(found.output_type).FromString,
        )
        answer = await client.call(stub, request, timeout_s=TIMEOUT_S, wait_for_ready=True)
        return _values(answer)


class RestControl:
    """Calls over HTTP, as the annotations of the proto say."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, **fields: object) -> Json:
        """Make the call; what is not in the path goes into the body, or the query when there is none."""
        verb, path, has_body = _binding(SERVICE.methods_by_name[method])
        rest = dict(fields)
        path = re.sub(r"\{(\w+)\}", lambda match: str(rest.pop(match[1])), path)
        path = re.sub(r"\{([\w.]+)\}", lambda match: str(_at(fields, match[1])), path)
        body = rest if has_body else None
        answer = await self._http.request(verb, path, json=body, params=_query({} if has_body else rest))
        if answer.is_error:
            refusal = {key: value for key, value in answer.json().items() if key != "status"}
            raise from_status(json_format.ParseDict(refusal, status_pb2.Status(), ignore_unknown_fields=True))
        values: Json = answer.json()
        return values


@contextlib.asynccontextmanager
async def by_grpc(address: str) -> AsyncIterator[Control]:
    """Open a channel for the block."""
    async with client.channel(address) as channel:
        yield GrpcControl(channel)


@contextlib.asynccontextmanager
async def by_rest(base_url: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[Control]:
    """Keep HTTP connections for the block; every request has these headers."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, trust_env=False, headers=headers) as http:
        yield RestControl(http)


def _message(descriptor: Any) -> type[Message]:  # noqa: ANN401 - the descriptor types of protobuf differ by backend
    return message_factory.GetMessageClass(descriptor)


def _values(message: Message) -> Json:
    values: Json = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return values


def _binding(method: MethodDescriptor) -> tuple[str, str, bool]:
    extension: Any = annotations_pb2.http
    rule: Any = method.GetOptions().Extensions[extension]
    verb = rule.WhichOneof("pattern")
    return verb.upper(), getattr(rule, verb), bool(rule.body)


def _at(fields: Mapping[str, object], path: str) -> object:
    """Return the value at a dotted path; it stays in the body, where it must be the same."""
    value: Any = fields
    for name in path.split("."):
        value = value[name]
    return value


def _query(fields: Json) -> list[tuple[str, str | int | float | bool | None]]:
    pairs = [(key, one) for key, value in fields.items() for one in (value if isinstance(value, list) else [value])]
    return [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in pairs]
