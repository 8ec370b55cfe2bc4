"""A small servicer of the real generated classes behind a real uvicorn: what the gateway does, without a platform."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from google.protobuf.message import Message

from manman import errors
from manman.rpc.access import authenticate_by_mode
from manman.rpc.chain import Chain, current_request_id
from manman.rpc.services import Service
from manman.v1 import (
    actions_pb2,
    api_pb2,
    api_pb2_grpc,
    configuration_pb2,
    game_configs_pb2,
    log_processor_pb2,
    log_processor_pb2_grpc,
    logs_pb2,
    servers_pb2,
    sessions_pb2,
    workshop_pb2,
    workshop_pb2_grpc,
)
from manman_api.rest import gateway
from manman_api.validation import request_rules


class Api(api_pb2_grpc.ManManAPIServicer):
    """Remembers each request; answers with what it got, or raises what it is told to."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.raises: Exception | None = None
        self.request_id = ""

    def _take(self, request: Message) -> None:
        self.requests.append(request)
        self.request_id = current_request_id()
        if self.raises is not None:
            raise self.raises

    async def GetServer(self, request: servers_pb2.GetServerRequest, context: object) -> servers_pb2.GetServerResponse:
        self._take(request)
        return servers_pb2.GetServerResponse(server=servers_pb2.Server(server_id=request.server_id, name="Höst"))

    async def UpdateServer(self, request: Message, context: object) -> servers_pb2.UpdateServerResponse:
        self._take(request)
        return servers_pb2.UpdateServerResponse()

    async def DeleteServer(self, request: Message, context: object) -> servers_pb2.DeleteServerResponse:
        self._take(request)
        return servers_pb2.DeleteServerResponse()

    async def RegisterServer(self, request: Message, context: object) -> servers_pb2.RegisterServerResponse:
        self._take(request)
        return servers_pb2.RegisterServerResponse(server_id=2**53 + 1)

    async def CreateGameConfig(self, request: Message, context: object) -> game_configs_pb2.CreateGameConfigResponse:
        self._take(request)
        return game_configs_pb2.CreateGameConfigResponse()

    async def ListSessions(self, request: Message, context: object) -> sessions_pb2.ListSessionsResponse:
        self._take(request)
        return sessions_pb2.ListSessionsResponse(sessions=[sessions_pb2.Session(session_id=1)])

    async def StopSession(self, request: Message, context: object) -> sessions_pb2.StopSessionResponse:
        self._take(request)
        return sessions_pb2.StopSessionResponse()

    async def SendInput(self, request: Message, context: object) -> sessions_pb2.SendInputResponse:
        self._take(request)
        return sessions_pb2.SendInputResponse()

    async def ListConfigurationPatches(
        self,
        request: Message,
        context: object,
    ) -> configuration_pb2.ListConfigurationPatchesResponse:
        self._take(request)
        return configuration_pb2.ListConfigurationPatchesResponse()

    async def UpdateActionDefinition(
        self,
        request: Message,
        context: object,
    ) -> actions_pb2.UpdateActionDefinitionResponse:
        self._take(request)
        return actions_pb2.UpdateActionDefinitionResponse(success=True)


class Logs(log_processor_pb2_grpc.LogProcessorServicer):
    """Streams what `lines` says; then waits for `more`, or ends, or fails with `raises`."""

    def __init__(self) -> None:
        self.lines = ["one", "two", "three"]
        self.waits = False
        self.raises: Exception | None = None
        self.open = 0

    async def StreamSessionLogs(
        self,
        request: logs_pb2.StreamSessionLogsRequest,
        context: object,
    ) -> AsyncIterator[logs_pb2.LogMessage]:
        if request.session_id == 404:
            raise errors.NotFound("session", 404)
        self.open += 1
        try:
            for number, line in enumerate(self.lines, 1):
                if number > request.after_sequence_number:
                    yield logs_pb2.LogMessage(session_id=request.session_id, message=line, sequence_number=number)
            if self.waits:
                await asyncio.Event().wait()
            if self.raises is not None:
                raise self.raises
        finally:
            self.open -= 1


class Site:
    """The running gateway, its servicers and a client."""

    def __init__(self, client: httpx2.AsyncClient, services: list[Service], chain: Chain) -> None:
        self.client, self.chain = client, chain
        self.api, self.logs = (one.servicer for one in services if isinstance(one.servicer, Api | Logs))


@pytest.fixture
def services() -> list[Service]:
    workshop = workshop_pb2_grpc.WorkshopServiceServicer()
    return [
        Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], Api()),
        Service(workshop_pb2.DESCRIPTOR.services_by_name["WorkshopService"], workshop),
        Service(log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"], Logs()),
    ]


@pytest.fixture
async def site(services: list[Service]) -> AsyncIterator[Site]:
    chain = Chain(authenticate_by_mode("none"), request_rules())
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gateway.build(web, services, chain)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web, log_config=None, lifespan="off", timeout_graceful_shutdown=5))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=address, timeout=10, trust_env=False) as client:
            yield Site(client, services, chain)
        server.should_exit = True
    listener.close()
