"""The RPCs about volumes."""

from __future__ import annotations

from manman.v1 import volumes_pb2 as pb
from manman_api.handlers import volumes
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class VolumesRpc(Servicer):
    """Volumes: read, add, replace, remove."""

    async def ListGameConfigVolumes(
        self, request: pb.ListGameConfigVolumesRequest, context: object
    ) -> pb.ListGameConfigVolumesResponse:
        """Answer with the volumes of a config."""
        rows = await volumes.list_volumes(config_id=request.config_id, uow=self._parts.uow)
        return pb.ListGameConfigVolumesResponse(volumes=map(present.volume, rows))

    async def GetGameConfigVolume(
        self, request: pb.GetGameConfigVolumeRequest, context: object
    ) -> pb.GetGameConfigVolumeResponse:
        """Answer with one volume."""
        row = await volumes.get_volume(volume_id=request.volume_id, uow=self._parts.uow)
        return pb.GetGameConfigVolumeResponse(volume=present.volume(row))

    async def CreateGameConfigVolume(
        self, request: pb.CreateGameConfigVolumeRequest, context: object
    ) -> pb.CreateGameConfigVolumeResponse:
        """Add a volume."""
        row = await volumes.create_volume(
            config_id=request.config_id, volume=unpack.volume(request), uow=self._parts.uow
        )
        return pb.CreateGameConfigVolumeResponse(volume=present.volume(row))

    async def UpdateGameConfigVolume(
        self, request: pb.UpdateGameConfigVolumeRequest, context: object
    ) -> pb.UpdateGameConfigVolumeResponse:
        """Replace a volume."""
        row = await volumes.update_volume(
            volume_id=request.volume_id, volume=unpack.volume(request), uow=self._parts.uow
        )
        return pb.UpdateGameConfigVolumeResponse(volume=present.volume(row))

    async def DeleteGameConfigVolume(
        self, request: pb.DeleteGameConfigVolumeRequest, context: object
    ) -> pb.DeleteGameConfigVolumeResponse:
        """Remove a volume."""
        await volumes.delete_volume(volume_id=request.volume_id, uow=self._parts.uow)
        return pb.DeleteGameConfigVolumeResponse()
