"""Volumes: the directories of a game that outlive its sessions. Removing one here leaves the files on the hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.configs import Volume, check_volume
from manman.errors import AlreadyExists, Invalid

if TYPE_CHECKING:
    from manman.db.models import GameConfigVolume
    from manman.db.unit_of_work import Transaction, Uow


async def list_volumes(*, config_id: int, uow: Uow) -> list[GameConfigVolume]:
    """Return the volumes of a config by id."""
    async with uow() as tx:
        return list(await tx.volumes.list(config_id=config_id))


async def get_volume(*, volume_id: int, uow: Uow) -> GameConfigVolume:
    """Return a volume; raise `NotFound`."""
    async with uow() as tx:
        return await tx.volumes.get(volume_id)


async def create_volume(*, config_id: int, volume: Volume, uow: Uow) -> GameConfigVolume:
    """Add a volume to a config; raise `Invalid`, `NotFound` (the config) or `AlreadyExists`."""
    async with uow() as tx:
        await tx.configs.lock(config_id)
        await _check(tx, config_id, volume)
        row = await tx.volumes.add(
            config_id=config_id,
            name=volume.name,
            container_path=volume.container_path,
            description=volume.description or None,
            host_subpath=volume.host_subpath or None,
            read_only=volume.read_only,
            volume_type=volume.volume_type or "bind",
        )
        await tx.commit()
        return row


async def update_volume(*, volume_id: int, volume: Volume, uow: Uow) -> GameConfigVolume:
    """Replace everything about a volume; an empty type leaves it. Errors as `create_volume`."""
    async with uow() as tx:
        row = await tx.volumes.get(volume_id)
        await tx.configs.lock(row.config_id)
        await _check(tx, row.config_id, volume, except_volume_id=volume_id)
        row.name = volume.name
        row.container_path = volume.container_path
        row.description = volume.description or None
        row.host_subpath = volume.host_subpath or None
        row.read_only = volume.read_only
        row.volume_type = volume.volume_type or row.volume_type
        await tx.commit()
        return row


async def delete_volume(*, volume_id: int, uow: Uow) -> None:
    """Remove a volume from its config; an unknown id is fine."""
    async with uow() as tx:
        await tx.volumes.delete(volume_id)
        await tx.commit()


async def _check(tx: Transaction, config_id: int, volume: Volume, *, except_volume_id: int = 0) -> None:
    """Raise `Invalid`, or `AlreadyExists` for a path that another volume of the config has."""
    problems = check_volume(volume)
    if problems:
        raise Invalid(problems)
    for other in await tx.volumes.list(config_id=config_id):
        if other.container_path == volume.container_path and other.volume_id != except_volume_id:
            raise AlreadyExists("volume", f"at {other.container_path} ({other.name})")
