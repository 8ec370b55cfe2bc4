"""Queries about the host ports that deployments hold.

Lock the host's row first (`tx.servers.lock`): it orders those who choose ports. The primary key is the second belt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from manman.db.models import GameConfig, ServerGameConfig, ServerPort

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.domain.ports import PortBinding, PortKey


class Ports:
    """Held ports within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def taken(self, server_id: int) -> dict[PortKey, str]:
        """Return who holds each (protocol, port) of a host."""
        query = (
            select(ServerPort.protocol, ServerPort.port, ServerPort.sgc_id, GameConfig.name)
            .join(ServerGameConfig, ServerGameConfig.sgc_id == ServerPort.sgc_id)
            .join(GameConfig, GameConfig.config_id == ServerGameConfig.game_config_id)
            .where(ServerPort.server_id == server_id)
        )
        rows = await self._db.execute(query)
        return {(protocol, port): f"deployment {sgc_id} ({name})" for protocol, port, sgc_id, name in rows}

    async def list(self, *, server_id: int) -> Sequence[ServerPort]:
        """Return the held ports of a host, by port."""
        query = select(ServerPort).where(ServerPort.server_id == server_id)
        return (await self._db.scalars(query.order_by(ServerPort.port, ServerPort.protocol))).all()

    async def release(self, sgc_ids: Collection[int]) -> None:
        """Let these deployments hold no port."""
        await self._db.execute(
            delete(ServerPort).where(ServerPort.sgc_id.in_(sgc_ids)), execution_options={"synchronize_session": "fetch"}
        )

    async def replace(self, *, server_id: int, sgc_id: int, bindings: Iterable[PortBinding], now: datetime) -> None:
        """Let the deployment hold exactly these host ports; raise `Exhausted` for one that another holds."""
        await self.release([sgc_id])
        self._db.add_all(
            ServerPort(
                server_id=server_id, port=binding.host_port, protocol=binding.protocol, sgc_id=sgc_id, allocated_at=now
            )
            for binding in bindings
        )
        await self._db.flush()
