"""A real server and a real channel: what one side raises, the other side catches."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from manman import clock, errors, logs
from manman.rpc import access, client
from manman.rpc.chain import Chain, current_caller, current_request_id
from manman.rpc.errors import RemoteFailure
from manman.rpc.server import Listening, serve
from manman.rpc.services import Service
from manman.v1 import api_pb2, api_pb2_grpc, games_pb2, log_processor_pb2, log_processor_pb2_grpc, logs_pb2, servers_pb2
from manman.v1.permissions_pb2 import ROLE_VIEWER
from manman_devstack.eventually import eventually

ERRORS = [
    errors.Invalid([errors.Problem("port_bindings[0].host_port", "choose a port"), errors.Problem("name", "is empty")]),
    errors.NotFound("server", "7"),
    errors.AlreadyExists("game", "OpenTTD"),
    errors.Conflict("the session is stopped"),
    errors.Exhausted("port 3979/TCP", "deployment 4"),
    errors.Unauthenticated("who are you"),
    errors.PermissionDenied("you may not"),
    errors.Unavailable("the database is away"),
    errors.TimedOut("host 3 did not answer within 10 s"),
]


class Api(api_pb2_grpc.ManManAPIServicer):
    """Raises what it is told to; tells what it sees."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.seen: dict[str, Any] = {}
        self.held = asyncio.Event()

    async def GetServer(self, request: servers_pb2.GetServerRequest, context: object) -> servers_pb2.GetServerResponse:
        self.seen = {
            "request_id": current_request_id(),
            "caller": current_caller(),
            "log": logs.bound(),
        }
        if self.raises is not None:
            raise self.raises
        return servers_pb2.GetServerResponse(server=servers_pb2.Server(server_id=request.server_id, name="one"))

    async def ListServers(self, request: object, context: object) -> servers_pb2.ListServersResponse:
        await self.held.wait()
        return servers_pb2.ListServersResponse()


class Logs(log_processor_pb2_grpc.LogProcessorServicer):
    """Streams lines after the number asked for; waits after the last one."""

    def __init__(self) -> None:
        self.lines = 3
        self.open = 0
        self.ends = True

    async def StreamSessionLogs(
        self,
        request: logs_pb2.StreamSessionLogsRequest,
        context: object,
    ) -> AsyncIterator[logs_pb2.LogMessage]:
        if request.session_id == 404:
            raise errors.NotFound("session", 404)
        self.open += 1
        try:
            for number in range(request.after_sequence_number + 1, self.lines + 1):
                yield logs_pb2.LogMessage(session_id=request.session_id, sequence_number=number)
            if not self.ends:
                await asyncio.Event().wait()
        finally:
            self.open -= 1


class Running:
    """A server with both services, and stubs for them."""

    def __init__(self, api: Api, logs: Logs, chain: Chain, listening: Listening, channel: grpc.aio.Channel) -> None:
        self.api, self.logs, self.chain, self.listening, self.channel = api, logs, chain, listening, channel
        self.stub = api_pb2_grpc.ManManAPIStub(channel)
        self.log_stub = log_processor_pb2_grpc.LogProcessorStub(channel)


@contextlib.asynccontextmanager
async def running(address: str = "127.0.0.1:0", *, chain: Chain | None = None) -> AsyncIterator[Running]:
    api, logs = Api(), Logs()
    used = chain or Chain(access.authenticate_by_mode("none"))
    services = [
        Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], api),
        Service(log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"], logs),
    ]
    async with (
        serve(services, used, address=address, grace_s=1) as listening,
        client.channel(listening.address) as channel,
    ):
        yield Running(api, logs, used, listening, channel)


async def get_server(part: Running, **options: Any) -> servers_pb2.GetServerResponse:
    request = servers_pb2.GetServerRequest(server_id=1)
    answer: servers_pb2.GetServerResponse = await client.call(
        part.stub.GetServer, request, **{"timeout_s": 5, **options}
    )
    return answer


async def test_a_call_is_answered() -> None:
    async with running() as part:
        assert (await get_server(part)).server.name == "one"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_each_error_of_the_family_arrives_as_itself(error: errors.ManManError) -> None:
    async with running() as part:
        part.api.raises = error
        with pytest.raises(type(error)) as caught:
            await get_server(part)
        assert vars(caught.value) == vars(error)
        assert str(caught.value) == str(error)


@pytest.mark.parametrize("error", [None, errors.NotFound("server", "7"), errors.Unauthenticated("who are you")])
async def test_a_probe_tells_the_servers_time_whatever_the_call_comes_to(error: errors.ManManError | None) -> None:
    async with running() as part:
        part.api.raises = error
        before = clock.now()
        probed = await client.probe(part.stub.GetServer, servers_pb2.GetServerRequest(server_id=1), timeout_s=5)
        assert probed.server_time is not None
        assert before <= probed.server_time <= clock.now()
        assert type(probed.error) is type(error)


async def test_a_probe_of_nobody_says_unavailable() -> None:
    async with client.channel("127.0.0.1:1") as channel:
        stub = api_pb2_grpc.ManManAPIStub(channel)
        probed = await client.probe(stub.GetServer, servers_pb2.GetServerRequest(server_id=1), timeout_s=5)
    assert isinstance(probed.error, errors.Unavailable)
    assert probed.server_time is None


async def test_a_bug_tells_its_request_id_and_nothing_from_the_inside() -> None:
    async with running() as part:
        part.api.raises = ValueError("password=secret")
        with pytest.raises(RemoteFailure) as caught:
            await get_server(part)
        assert "secret" not in str(caught.value)
        assert part.api.seen["request_id"] in str(caught.value)


async def test_a_method_nobody_wrote_is_unimplemented() -> None:
    async with running() as part:
        with pytest.raises(RemoteFailure, match="UNIMPLEMENTED"):
            await client.call(
                part.stub.GetGame,
                games_pb2.GetGameRequest(),
                timeout_s=5,
            )


async def test_the_callers_request_id_reaches_the_servicer_and_its_log() -> None:
    async with running() as part:
        await part.stub.GetServer(servers_pb2.GetServerRequest(), metadata=(("x-request-id", "abc-1"),))
        assert part.api.seen["request_id"] == "abc-1"
        assert part.api.seen["log"] == {"request_id": "abc-1", "rpc": "GetServer"}
        assert part.api.seen["caller"] == access.Caller("dev-user", access.ROLE_ADMIN)


async def test_a_request_id_that_is_no_plain_word_is_replaced() -> None:
    async with running() as part:
        await part.stub.GetServer(servers_pb2.GetServerRequest(), metadata=(("x-request-id", "a b<script>"),))
        assert part.api.seen["request_id"].isalnum()


async def test_a_call_longer_than_its_deadline_times_out() -> None:
    async with running() as part:
        with pytest.raises(errors.TimedOut):
            await client.call(part.stub.ListServers, servers_pb2.ListServersRequest(), timeout_s=0.05)


async def test_a_call_without_a_deadline_gets_the_servers_own() -> None:
    async with running(chain=Chain(access.authenticate_by_mode("none"), timeout_s=0.05)) as part:
        with pytest.raises(grpc.aio.AioRpcError, match=r"ListServers took longer than 0\.05 s"):
            await part.stub.ListServers(servers_pb2.ListServersRequest())


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with running() as part:
        address = part.listening.address
    async with client.channel(address) as channel:
        stub = api_pb2_grpc.ManManAPIStub(channel)
        with pytest.raises(errors.Unavailable):
            await client.call(stub.GetServer, servers_pb2.GetServerRequest(), timeout_s=5)


async def test_a_port_in_use_is_refused_at_start() -> None:
    async with running() as part:
        with pytest.raises(OSError, match="cannot listen"):
            async with running(part.listening.address):
                pass


async def test_a_request_that_validation_refuses_does_not_reach_the_servicer() -> None:
    chain = Chain(access.authenticate_by_mode("none"), lambda _: [errors.Problem("server_id", "must be greater")])
    async with running(chain=chain) as part:
        with pytest.raises(errors.Invalid, match="server_id: must be greater"):
            await get_server(part)
        assert part.api.seen == {}


async def test_a_caller_without_the_role_is_refused() -> None:
    async def viewer(_metadata: object) -> access.Caller:
        return access.Caller("eve", ROLE_VIEWER)

    async with running(chain=Chain(viewer)) as part:
        assert (await get_server(part)).server.name == "one"
        with pytest.raises(errors.PermissionDenied, match="needs the role admin"):
            await client.call(part.stub.CreateServer, servers_pb2.CreateServerRequest(name="x"), timeout_s=5)


async def test_only_the_holder_of_the_token_may_call() -> None:
    async with running(chain=Chain(access.authenticate_by_token("t0ken"))) as part:
        assert (await get_server(part, token="t0ken")).server.name == "one"
        with pytest.raises(errors.Unauthenticated):
            await get_server(part, token="wrong")
        with pytest.raises(errors.Unauthenticated):
            await get_server(part)


async def test_without_a_token_everybody_who_reaches_the_socket_may_call(tmp_path: Path) -> None:
    async with running(f"unix:{tmp_path}/w.sock", chain=Chain(access.authenticate_by_token(""))) as part:
        assert (await get_server(part)).server.name == "one"


def test_a_mode_of_authentication_that_is_not_there_is_refused_at_start() -> None:
    with pytest.raises(errors.Invalid, match="GRPC_AUTH_MODE"):
        access.authenticate_by_mode("oidc")


async def test_a_unix_socket_serves_and_only_its_user_can_open_it(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    async with running(f"unix:{path}") as part:
        assert (await get_server(part)).server.name == "one"
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_socket_path_that_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="longer than 107 bytes"):
        async with running(f"unix:{tmp_path}/{'x' * 108}"):
            pass


async def test_a_stream_yields_its_items_and_ends() -> None:
    async with running() as part:
        request = logs_pb2.StreamSessionLogsRequest(session_id=1, after_sequence_number=1)
        lines = [line.sequence_number async for line in client.stream(part.log_stub.StreamSessionLogs, request)]
        assert lines == [2, 3]


async def test_a_stream_that_is_refused_raises_the_reason() -> None:
    async with running() as part:
        with pytest.raises(errors.NotFound):
            async for _ in client.stream(
                part.log_stub.StreamSessionLogs, logs_pb2.StreamSessionLogsRequest(session_id=404)
            ):
                pass


async def test_initial_metadata_comes_before_the_first_item() -> None:
    async with running() as part:
        part.logs.lines, part.logs.ends = 0, False
        call = part.log_stub.StreamSessionLogs(logs_pb2.StreamSessionLogsRequest(session_id=1))
        metadata = await asyncio.wait_for(call.initial_metadata(), 5)
        assert "x-request-id" in dict(metadata)
        call.cancel()


async def test_a_servicer_sees_that_the_reader_of_a_stream_left() -> None:
    async with running() as part:
        part.logs.ends = False
        request = logs_pb2.StreamSessionLogsRequest(session_id=1)
        async with contextlib.aclosing(client.stream(part.log_stub.StreamSessionLogs, request)) as lines:
            assert (await anext(lines)).sequence_number == 1
            assert part.logs.open == 1
        await eventually(lambda: part.logs.open == 0)


async def test_a_stopping_server_ends_its_streams_as_unavailable() -> None:
    caught: list[type[Exception]] = []
    first = asyncio.Event()

    async def read(part: Running) -> None:
        try:
            async for _ in client.stream(
                part.log_stub.StreamSessionLogs, logs_pb2.StreamSessionLogsRequest(session_id=1)
            ):
                first.set()
        except errors.Unavailable as error:
            caught.append(type(error))

    async with asyncio.TaskGroup() as group, running() as part:
        part.logs.ends = False
        group.create_task(read(part))
        await first.wait()
        part.chain.end_streams()
        await eventually(lambda: caught)
    assert caught == [errors.Unavailable]
    assert part.logs.open == 0


async def test_health_says_serving_for_the_server_and_each_service() -> None:
    async with running() as part:
        probe = health_pb2_grpc.HealthStub(part.channel)
        for name in ("", "manman.v1.ManManAPI", "manman.v1.LogProcessor"):
            answer = await probe.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_our_services() -> None:
    async with running() as part:

        def names() -> set[str]:
            with grpc.insecure_channel(part.listening.address) as channel:
                return set(ProtoReflectionDescriptorDatabase(channel).get_services())

        assert {"manman.v1.ManManAPI", "manman.v1.LogProcessor", "grpc.health.v1.Health"} <= await asyncio.to_thread(
            names
        )
