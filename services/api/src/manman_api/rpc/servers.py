"""The RPCs about hosts."""

from __future__ import annotations

from google.protobuf.unknown_fields import UnknownFieldSet

from manman.v1 import servers_pb2 as pb
from manman.v1 import stats_pb2
from manman_api import paging
from manman_api.handlers import servers
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer

NEXT_HEARTBEAT_S = 30
"""What a host that beats over gRPC is told; our own hosts beat over the bus, faster."""

CONTROL_PLANE_FEATURES = ("status_reasons", "completed", "phases", "log_streams")

_SEED_MASK_FIELD = 4
_LENGTH_DELIMITED = 2


class ServersRpc(Servicer):
    """Hosts: read, change, register, heartbeat."""

    async def ListServers(self, request: pb.ListServersRequest, context: object) -> pb.ListServersResponse:
        """Answer with a page of hosts."""
        page = paging.read(request.page_size, request.page_token)
        hosts, token = await servers.list_servers(page=page, uow=self._parts.uow)
        return pb.ListServersResponse(servers=map(present.server, hosts), next_page_token=token)

    async def GetServer(self, request: pb.GetServerRequest, context: object) -> pb.GetServerResponse:
        """Answer with one host."""
        host = await servers.get_server(server_id=request.server_id, uow=self._parts.uow)
        return pb.GetServerResponse(server=present.server(host))

    async def CreateServer(self, request: pb.CreateServerRequest, context: object) -> pb.CreateServerResponse:
        """Add a host."""
        host = await servers.create_server(name=request.name, uow=self._parts.uow)
        return pb.CreateServerResponse(server=present.server(host))

    async def UpdateServer(self, request: pb.UpdateServerRequest, context: object) -> pb.UpdateServerResponse:
        """Change a host."""
        host = await servers.update_server(
            server_id=request.server_id,
            values={
                "name": request.name,
                "status": request.status,
                "is_default": request.is_default,
                "public_address": request.public_address,
                "port_ranges": unpack.port_ranges(request.port_ranges),
            },
            update_paths=list(request.update_paths) or _mask_of_old_clients(request),
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.UpdateServerResponse(server=present.server(host))

    async def DrainServer(self, request: pb.DrainServerRequest, context: object) -> pb.DrainServerResponse:
        """Take a host out of service."""
        host = await servers.set_draining(server_id=request.server_id, draining=True, uow=self._parts.uow)
        return pb.DrainServerResponse(server=present.server(host))

    async def UndrainServer(self, request: pb.UndrainServerRequest, context: object) -> pb.UndrainServerResponse:
        """Take a host back into service."""
        host = await servers.set_draining(server_id=request.server_id, draining=False, uow=self._parts.uow)
        return pb.UndrainServerResponse(server=present.server(host))

    async def ListServerCapabilities(
        self, request: pb.ListServerCapabilitiesRequest, context: object
    ) -> pb.ListServerCapabilitiesResponse:
        """Answer with what a host said it offers."""
        rows = await servers.list_capabilities(
            server_id=request.server_id, limit=paging.size(request.limit), uow=self._parts.uow
        )
        return pb.ListServerCapabilitiesResponse(capabilities=map(present.capabilities, rows))

    async def GetServerStats(
        self, request: stats_pb2.GetServerStatsRequest, context: object
    ) -> stats_pb2.GetServerStatsResponse:
        """Answer with what a host used."""
        window = unpack.window(request, self._parts.now())
        points = await servers.get_stats(server_id=request.server_id, window=window, uow=self._parts.uow)
        return present.server_stats(points, window)

    async def DeleteServer(self, request: pb.DeleteServerRequest, context: object) -> pb.DeleteServerResponse:
        """Remove a host."""
        await servers.delete_server(server_id=request.server_id, uow=self._parts.uow)
        return pb.DeleteServerResponse()

    async def RegisterServer(self, request: pb.RegisterServerRequest, context: object) -> pb.RegisterServerResponse:
        """Create or reuse a host by its name."""
        host = await servers.register_server(
            name=request.name,
            capabilities=unpack.capabilities(request.capabilities) if request.HasField("capabilities") else None,
            environment=request.environment,
            features=list(request.features),
            public_address=request.public_address,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.RegisterServerResponse(
            server_id=host.row.server_id,
            server=present.server(host),
            control_plane_features=CONTROL_PLANE_FEATURES,
        )

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: object) -> pb.HeartbeatResponse:
        """Take a sign of life."""
        await servers.heartbeat(
            server_id=request.server_id,
            capabilities=unpack.capabilities(request.capabilities) if request.HasField("capabilities") else None,
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.HeartbeatResponse(acknowledged=True, next_heartbeat_seconds=NEXT_HEARTBEAT_S)


def _mask_of_old_clients(request: pb.UpdateServerRequest) -> list[str]:
    """Return the mask where the first clients sent it: as texts in field 4, which is `is_default` (a bool) by now."""
    unknown = UnknownFieldSet(request)
    fields = [unknown[index] for index in range(len(unknown))]
    return [
        field.data.decode(errors="replace")
        for field in fields
        if field.field_number == _SEED_MASK_FIELD and field.wire_type == _LENGTH_DELIMITED
    ]
