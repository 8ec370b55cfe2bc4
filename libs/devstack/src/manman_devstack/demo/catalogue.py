"""Put a `game.yaml` into the platform: its game, config, volumes and a deployment, made once, then kept current.

The file's parts are request bodies of the REST API, so nothing is translated here: what is not there yet is created,
what is there already gets the file's values.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import yaml

from manman_devstack.demo.failure import DemoError

if TYPE_CHECKING:
    from pathlib import Path

    from manman_devstack.demo.rest import Json, Rest

_PARTS = ("game", "config", "volumes", "deployment")


@dataclasses.dataclass(frozen=True)
class Kept:
    """One thing in the platform, and whether this call made it."""

    value: Json
    is_new: bool

    @property
    def how(self) -> str:
        """The word for people."""
        return "created" if self.is_new else "was there, brought up to date"


def read_game(file: Path) -> Json:
    """Read a `game.yaml`.

    Raises:
        DemoError: it cannot be read, or a part is missing.
    """
    try:
        document: Json = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DemoError(f"{file} cannot be read", str(error).splitlines()) from error
    missing = [part for part in _PARTS if part not in (document or {})]
    if missing:
        raise DemoError(f"{file} has no {', '.join(missing)}")
    return document


async def keep_game(rest: Rest, game: Json) -> Kept:
    """Make the game of that name be as `game` says."""
    there = _named(await rest.every("/v1/games", "games"), game["name"])
    if there is None:
        return Kept((await rest.post("/v1/games", game))["game"], is_new=True)
    return Kept((await rest.patch(f"/v1/games/{there['game_id']}", _masked(game)))["game"], is_new=False)


async def keep_config(rest: Rest, game_id: str, config: Json) -> Kept:
    """Make the game's config of that name be as `config` says."""
    there = _named(await rest.every("/v1/game-configs", "configs", game_id=game_id), config["name"])
    if there is None:
        return Kept((await rest.post("/v1/game-configs", {**config, "game_id": game_id}))["config"], is_new=True)
    return Kept((await rest.patch(f"/v1/game-configs/{there['config_id']}", _masked(config)))["config"], is_new=False)


async def keep_volume(rest: Rest, config_id: str, volume: Json) -> Kept:
    """Make sure that the config has a volume of that name; one that is there stays as it is, with its data."""
    path = f"/v1/game-configs/{config_id}/volumes"
    there = _named((await rest.get(path)).get("volumes", []), volume["name"])
    if there is None:
        return Kept((await rest.post(path, volume))["volume"], is_new=True)
    return Kept(there, is_new=False)


async def keep_deployment(rest: Rest, server_id: str, config_id: str, deployment: Json) -> Kept:
    """Make sure that the config is deployed to the server; a deployment that is there keeps its ports."""
    for there in await rest.every("/v1/deployments", "configs", server_id=server_id):
        if there["game_config_id"] == config_id:
            path = f"/v1/deployments/{there['server_game_config_id']}"
            change = {"parameters": deployment["parameters"], "update_paths": ["parameters"]}
            return Kept((await rest.patch(path, change))["config"], is_new=False)
    body = {**deployment, "server_id": server_id, "game_config_id": config_id}
    return Kept((await rest.post("/v1/deployments", body))["config"], is_new=True)


def host_port(deployment: Json, protocol: str) -> int:
    """Return the host's port of the deployment's first binding of that protocol."""
    for binding in deployment.get("port_bindings", []):
        if binding["protocol"] == protocol and binding.get("host_port"):
            return int(binding["host_port"])
    raise DemoError(f"the deployment was given no {protocol} port", [str(deployment.get("port_bindings"))])


def _named(things: list[Json], name: str) -> Json | None:
    return next((thing for thing in things if thing["name"] == name), None)


def _masked(body: Json) -> Json:
    """Say that exactly the fields of `body` are to be written."""
    return {**body, "update_paths": sorted(body)}
