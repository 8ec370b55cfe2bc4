"""The yardsticks: what the same machine does without ManMan, in a process of its own.

    python -m manman_devstack.bench.bare

It serves, on free ports that its first line on stdout names as JSON:
- by gRPC, on a bare `grpc.aio` server: `Echo`, which gives the request back, and `Query`, which asks for one host what
  GetServer asks, by bare psycopg on a pool of as many connections as the api has, and builds the same answer;
- by HTTP, under the api's own uvicorn settings: `/plain`, a route of FastAPI that returns a dict.

It leaves out everything else that the api does: who calls, validation, deadlines, request ids, metrics, errors.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
from fastapi import FastAPI

from manman import logs
from manman.rpc.access import AUTH_NONE, authenticate_by_mode
from manman.rpc.chain import Chain
from manman.settings import DatabaseSettings
from manman.v1 import servers_pb2 as pb
from manman_api import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SERVICE = "Bare"
ECHO = f"/{SERVICE}/Echo"
QUERY = f"/{SERVICE}/Query"
PLAIN = "GET /plain"

QUERY_SQL = """
SELECT s.server_id, s.name, s.status, extract(epoch FROM s.last_seen)::bigint, s.environment, s.is_default, s.features,
       s.public_address, c.total_memory_mb, c.available_memory_mb, c.cpu_cores, c.available_cpu_millicores,
       c.available_ports, c.docker_version
FROM servers s
LEFT JOIN LATERAL (
    SELECT * FROM server_capabilities WHERE server_id = s.server_id
    ORDER BY recorded_at DESC, capability_id DESC LIMIT 1
) c ON true
WHERE s.server_id = %s
"""


async def main() -> None:
    """Serve until killed."""
    logs.configure("error", "console", "bare")
    settings = DatabaseSettings()
    chain = Chain(authenticate_by_mode(AUTH_NONE))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([_services(await _query(settings))])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with web.serve(_plain(), chain, host="127.0.0.1", port=0) as rest:
        print(json.dumps({"grpc": f"127.0.0.1:{port}", "rest": f"127.0.0.1:{rest}"}), flush=True)
        await server.wait_for_termination()


def _services(query: Callable[[Any, Any], Awaitable[pb.GetServerResponse]]) -> grpc.GenericRpcHandler:
    async def echo(request: pb.GetServerRequest, _context: object) -> pb.GetServerRequest:
        return request

    read = pb.GetServerRequest.FromString
    wrap = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Echo": wrap(echo, request_deserializer=read, response_serializer=pb.GetServerRequest.SerializeToString),
        "Query": wrap(query, request_deserializer=read, response_serializer=pb.GetServerResponse.SerializeToString),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


async def _query(settings: DatabaseSettings) -> Callable[[Any, Any], Awaitable[pb.GetServerResponse]]:
    free: asyncio.LifoQueue[psycopg.AsyncConnection] = asyncio.LifoQueue()
    for _ in range(settings.db_pool_size + settings.db_pool_overflow):
        free.put_nowait(await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True))

    async def query(request: pb.GetServerRequest, _context: object) -> pb.GetServerResponse:
        connection = await free.get()
        row = await (await connection.execute(QUERY_SQL, [request.server_id])).fetchone()
        free.put_nowait(connection)
        if row is None:
            raise LookupError(request.server_id)
        server_id, name, status, last_seen, environment, is_default, features, address, *offered = row
        memory, free_memory, cores, free_cpu, ports, docker = offered
        capabilities = pb.ServerCapabilities(
            total_memory_mb=memory,
            available_memory_mb=free_memory,
            cpu_cores=cores,
            available_cpu_millicores=free_cpu,
            available_ports=[pb.PortRange(**span) for span in ports],
            docker_version=docker,
        )
        server = pb.Server(
            server_id=server_id,
            name=name,
            status=status,
            last_seen=last_seen,
            environment=environment or "",
            is_default=is_default,
            features=features,
            public_address=address or "",
            capabilities=capabilities,
        )
        return pb.GetServerResponse(server=server)

    return query


def _plain() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(PLAIN.removeprefix("GET "))
    async def plain() -> dict[str, object]:
        return {
            "server_id": "1",
            "name": "host",
            "status": "online",
            "last_seen": "1780000000",
            "environment": "",
            "is_default": False,
            "features": ["a", "b"],
            "public_address": "192.0.2.1",
        }

    return app


if __name__ == "__main__":
    asyncio.run(main())
