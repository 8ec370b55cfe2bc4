"""A small world for handlers: hosts, games, configs and deployments on a fresh database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from manman.db.models import GameConfig, Server, ServerGameConfig
from manman.db.unit_of_work import UnitOfWork
from manman.domain.ports import PortRange, WantedPort
from manman_api.handlers import configs, deployments, games, servers

NOW = datetime(2026, 7, 18, 10, tzinfo=UTC)
RANGES = (PortRange(start=27000, end=27002),)


class World:
    """Makes things with as little said as possible."""

    now = NOW
    ranges = RANGES

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        self.made = 0

    async def host(self, name: str = "host", **more: Any) -> Server:
        told = {"capabilities": None, "environment": "", "features": (), "public_address": "", **more}
        return (await servers.register_server(name=name, now=NOW, uow=self.uow, **told)).row

    async def config(self, **values: Any) -> GameConfig:
        self.made += 1
        game = await games.create_game(name=f"game {self.made}", steam_app_id="", metadata=None, uow=self.uow)
        return await configs.create_config(game_id=game.game_id, values=self.values(**values), uow=self.uow)

    def values(self, **values: Any) -> configs.ConfigValues:
        plain = {"name": "config", "image": "game:1", "args_template": "", "env_template": {}, "files": []}
        rest = {"parameters": [], "entrypoint": [], "command": [], "resources": None, "isolation": None}
        end = {"stop_command": "", "stop_timeout_seconds": 0, "stop_signal": "", "restart_policy": None}
        ready = {"ready_pattern": "", "ready_query": None, "liveness_limit_seconds": 0}
        return configs.ConfigValues(**{**plain, **rest, **end, **ready, **values})

    def deployment_values(self, **values: Any) -> deployments.DeploymentValues:
        plain = {"port_bindings": [], "parameters": {}, "status": "", "env_overrides": {}, "resources": None}
        end = {"stop_command": "", "stop_timeout_seconds": 0, "stop_signal": "", "restart_policy": None}
        return deployments.DeploymentValues(**{**plain, **end, **values})

    async def deploy(
        self,
        server: Server,
        config: GameConfig,
        *ports: WantedPort,
        values: dict[str, str] | None = None,
        **more: Any,
    ) -> ServerGameConfig:
        found = await deployments.deploy(
            server_id=server.server_id,
            game_config_id=config.config_id,
            values=self.deployment_values(port_bindings=list(ports), parameters=values or {}, **more),
            default_ranges=RANGES,
            now=NOW,
            uow=self.uow,
        )
        return found.row

    async def deployment(self, **values: Any) -> ServerGameConfig:
        return await self.deploy(await self.host(), await self.config(**values))


@pytest.fixture
def world(uow: UnitOfWork) -> World:
    return World(uow)
