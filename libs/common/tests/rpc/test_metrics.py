"""What is counted of the calls of a process."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from manman import errors
from manman.rpc import access
from manman.rpc.chain import Chain
from manman.rpc.errors import CallFailed
from manman.rpc.metrics import CallMetrics
from manman.v1 import api_pb2, log_processor_pb2, logs_pb2, servers_pb2

GET = api_pb2.DESCRIPTOR.services_by_name["ManManAPI"].methods_by_name["GetServer"]
LINES = log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"].methods_by_name["StreamSessionLogs"]


@pytest.fixture
def chain() -> Chain:
    return Chain(access.authenticate_by_mode("none"), meter=CallMetrics())


def value(name: str, method: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"method": method, **labels}) or 0.0


async def test_a_call_is_counted_by_its_outcome_and_timed_if_it_was_answered(chain: Chain) -> None:
    async def answer(request: servers_pb2.GetServerRequest) -> servers_pb2.GetServerResponse:
        if request.server_id == 404:
            raise errors.NotFound("server", 404)
        return servers_pb2.GetServerResponse()

    def counted() -> tuple[float, float, float]:
        codes = (value("manman_rpc_calls_total", GET.full_name, code=code) for code in ("OK", "NOT_FOUND"))
        return (*codes, value("manman_rpc_seconds_count", GET.full_name))

    answered, missing, timed = counted()
    await chain.call(GET, servers_pb2.GetServerRequest(server_id=1), {}, answer)
    with contextlib.suppress(CallFailed):
        await chain.call(GET, servers_pb2.GetServerRequest(server_id=404), {}, answer)

    assert counted() == (answered + 1, missing + 1, timed + 1)


async def test_a_stream_is_open_until_it_ends_and_is_not_timed(chain: Chain) -> None:
    async def lines(_request: object) -> AsyncIterator[logs_pb2.LogMessage]:
        yield logs_pb2.LogMessage()

    before = value("manman_rpc_open_streams", LINES.full_name)
    request = logs_pb2.StreamSessionLogsRequest(session_id=1)
    open_streams = [
        value("manman_rpc_open_streams", LINES.full_name) async for _ in chain.stream(LINES, request, {}, lines)
    ]

    assert open_streams == [before + 1]
    assert value("manman_rpc_open_streams", LINES.full_name) == before
    assert value("manman_rpc_seconds_count", LINES.full_name) == 0
