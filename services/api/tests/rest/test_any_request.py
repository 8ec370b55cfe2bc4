"""Whatever comes in, the gateway answers in its own shape and never with an error of its own."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manman.rpc.access import authenticate_by_mode
from manman.rpc.chain import Chain
from manman.rpc.services import Service
from manman.v1 import (
    api_pb2,
    api_pb2_grpc,
    log_processor_pb2,
    log_processor_pb2_grpc,
    workshop_pb2,
    workshop_pb2_grpc,
)
from manman_api.rest.bindings import Binding, Table
from manman_api.rest.gateway import Gateway
from manman_api.validation import request_rules

WORKSHOP = workshop_pb2.DESCRIPTOR.services_by_name["WorkshopService"]
LOGS = log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"]
SERVICES = [
    Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], api_pb2_grpc.ManManAPIServicer()),
    Service(WORKSHOP, workshop_pb2_grpc.WorkshopServiceServicer()),
    Service(
        log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"], log_processor_pb2_grpc.LogProcessorServicer()
    ),
]
TABLE = Table(SERVICES)
ANSWERS = {200, 400, 403, 404, 405, 415, 501}
"""The servicers know no method: what is right ends as 501."""

segments = st.one_of(st.integers(-1, 2**70).map(str), st.text(max_size=8), st.just("1"))
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=6))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    body: bytes
    content_type: str


@st.composite
def requests(draw: st.DrawFn) -> Request:
    binding = draw(st.sampled_from(TABLE.bindings))
    path = "/" + "/".join(draw(segments) if part.startswith("{") else part for part in binding.segments)
    names = st.sampled_from(names_of(binding))
    query = draw(st.lists(st.tuples(names | st.text(max_size=4), segments), max_size=3))
    document = draw(st.dictionaries(names, values, max_size=5) | values)
    return Request(
        method=draw(st.just(binding.http_method) | methods),
        path=path + (f":{binding.verb}" if binding.verb else ""),
        query=urlencode(query, errors="replace"),
        body=draw(st.just(json.dumps(document).encode()) | st.binary(max_size=8) | st.just(b"")),
        content_type=draw(st.sampled_from(["application/json", "application/json", "text/plain"])),
    )


def names_of(binding: Binding) -> list[str]:
    fields = list(binding.method.input_type.fields)
    nested = [f"{one.name}.{two.name}" for one in fields if one.message_type for two in one.message_type.fields]
    return ["x", *(one.name for one in fields), *(one.camelcase_name for one in fields), *nested]


async def ask(gateway: Gateway, request: Request) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []
    incoming = iter([{"type": "http.request", "body": request.body, "more_body": False}])

    async def receive() -> Any:
        message = next(incoming, None)
        return message if message is not None else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.query.encode(),
        "headers": [(b"content-type", request.content_type.encode())],
    }
    await gateway(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.timeout(300)
def test_no_request_makes_the_gateway_fail() -> None:
    gateway = Gateway(TABLE, Chain(authenticate_by_mode("none"), request_rules()))
    with asyncio.Runner() as runner:

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        @given(requests())
        def answers_in_its_own_shape(request: Request) -> None:
            status, body = runner.run(ask(gateway, request))
            assert status in ANSWERS
            assert set(json.loads(body)) == {"code", "status", "message", "details"}

        answers_in_its_own_shape()
