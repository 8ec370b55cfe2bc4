"""Lists: fifty rows take as many statements as one."""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from google.protobuf.message import Message
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.settings import DatabaseSettings
from manman.v1 import (
    access_control_pb2,
    actions_pb2,
    api_pb2,
    configuration_pb2,
    game_configs_pb2,
    games_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    volumes_pb2,
)
from manman_api import app
from manman_api.settings import Settings
from manman_devstack.databases import fresh_database

MANY = 50
NOT_BUILT = {"ListBackups", "ListBackupConfigs", "ListBackupConfigActions"}

# Everything is numbered from 1; row 1 of each is what the rows of the others hang on.
ROWS = """
INSERT INTO servers (name) SELECT 'host ' || n FROM generate_series(1, %(n)s) n;
INSERT INTO server_capabilities (server_id) SELECT server_id FROM servers WHERE server_id > 1;
INSERT INTO server_capabilities (server_id) SELECT 1 FROM generate_series(1, %(n)s);
INSERT INTO games (name) SELECT 'game ' || n FROM generate_series(1, %(n)s) n;
INSERT INTO game_configs (game_id, name, image) SELECT 1, 'config ' || n, 'i' FROM generate_series(1, %(n)s) n;
INSERT INTO game_config_files (config_id, position, path) SELECT config_id, 1, 'a' FROM game_configs;
INSERT INTO game_config_volumes (config_id, name, container_path)
    SELECT 1, 'volume' || n, '/' || n FROM generate_series(1, %(n)s) n;
INSERT INTO parameter_definitions (game_id, key) VALUES (1, 'map');
INSERT INTO game_config_parameter_values (config_id, param_id, position) SELECT config_id, 1, 1 FROM game_configs;
INSERT INTO server_game_configs (server_id, game_config_id, port_bindings)
    SELECT server_id, config_id, '[{"container_port": 1, "host_port": 2, "protocol": "TCP"}]'
    FROM servers JOIN game_configs ON server_id = config_id;
INSERT INTO server_game_config_parameter_values (sgc_id, key, value) SELECT sgc_id, 'map', 'x' FROM server_game_configs;
INSERT INTO sessions (sgc_id, status) SELECT sgc_id, 'running' FROM server_game_configs;
INSERT INTO configuration_strategies (game_id, name, strategy_type)
    SELECT 1, 'strategy ' || n, 'cli_args' FROM generate_series(1, %(n)s) n;
INSERT INTO strategy_parameter_bindings (strategy_id, param_id, binding_type, target_key)
    SELECT strategy_id, 1, 'direct', 'k' FROM configuration_strategies;
INSERT INTO configuration_patches (strategy_id, patch_level, entity_id)
    SELECT strategy_id, 'game_config', 1 FROM configuration_strategies;
INSERT INTO action_definitions (entity_id, name, label, command_template)
    SELECT 1, 'action_' || n, 'l', 'c' FROM generate_series(1, %(n)s) n;
INSERT INTO action_input_fields (action_id, name, label, field_type)
    SELECT action_id, 'field', 'l', 'select' FROM action_definitions;
INSERT INTO action_input_options (field_id, value, label) SELECT field_id, 'v', 'l' FROM action_input_fields;
INSERT INTO action_executions (action_id, action_name, session_id, rendered_command)
    SELECT action_id, name, 1, 'c' FROM action_definitions;
INSERT INTO api_tokens (name, role, secret_hash)
    SELECT 'token', 'viewer', decode(repeat('00', 32), 'hex') FROM generate_series(1, %(n)s);
INSERT INTO audit_log (at, subject, role, rpc, request_id)
    SELECT now(), 's', 'admin', 'r', 'i' FROM generate_series(1, %(n)s);
"""

CALLS: dict[str, Message] = {
    "ListServers": servers_pb2.ListServersRequest(),
    "ListServerCapabilities": servers_pb2.ListServerCapabilitiesRequest(server_id=1),
    "ListGames": games_pb2.ListGamesRequest(),
    "ListGameConfigs": game_configs_pb2.ListGameConfigsRequest(),
    "ListServerGameConfigs": server_game_configs_pb2.ListServerGameConfigsRequest(),
    "ListSessions": sessions_pb2.ListSessionsRequest(),
    "ListConfigurationStrategies": configuration_pb2.ListConfigurationStrategiesRequest(game_id=1),
    "ListConfigurationPatches": configuration_pb2.ListConfigurationPatchesRequest(
        entity_id=1, patch_level="game_config"
    ),
    "ListGameConfigVolumes": volumes_pb2.ListGameConfigVolumesRequest(config_id=1),
    "ListActionDefinitions": actions_pb2.ListActionDefinitionsRequest(game_id=1),
    "ListActionExecutions": actions_pb2.ListActionExecutionsRequest(session_id=1, limit=MANY),
    "GetSessionActions": actions_pb2.GetSessionActionsRequest(session_id=1),
    "ListApiTokens": access_control_pb2.ListApiTokensRequest(),
    "ListAuditEntries": access_control_pb2.ListAuditEntriesRequest(),
}


class Wire:
    """What the connections of an engine say to the database, as libpq itself writes it down."""

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._path = path
        self._connections: list[Any] = []
        event.listen(engine.sync_engine, "connect", self._connected)

    def _connected(self, connection: Any, _record: object) -> None:
        self._connections.append(connection.driver_connection.pgconn)

    @contextmanager
    def tapped(self) -> Iterator[Callable[[], int]]:
        """Listen in the block; the function tells afterwards how many statements were sent."""
        with self._path.open("w") as file:
            for one in self._connections:
                one.trace(os.dup(file.fileno()))
            yield lambda: len(re.findall(r"\tF\t\d+\t(?:Execute|Query)\t", self._path.read_text()))
            for one in self._connections:
                one.untrace()


@asynccontextmanager
async def called(database_url: str, folder: Path) -> AsyncIterator[Callable[[str], Awaitable[tuple[int, int]]]]:
    """Give a function that calls a list and returns how many rows it gave and how many statements that took."""
    settings = DatabaseSettings(pg_database_url=database_url)
    async with connected(settings) as engine:
        wire = Wire(engine, folder / "wire")
        parts = app.parts(Settings(), UnitOfWork(engine), None, None)  # type: ignore[arg-type] # lists need no broker
        services = app.services_of(parts)
        methods = {method.name: (service, method) for service in services for method in service.methods()}

        async def call(name: str) -> tuple[int, int]:
            service, method = methods[name]
            await service.unary(method)(CALLS[name])  # the first use of a connection has statements of its own
            with wire.tapped() as statements:
                answer = await service.unary(method)(CALLS[name])
            rows = next(value for field, value in answer.ListFields() if field.is_repeated)
            return len(rows), statements()

        yield call


def insert(database_url: str, number: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in ROWS.split(";\n"):
            connection.execute(statement, {"n": number})


async def counts(database_url: str, rows: int, folder: Path) -> dict[str, int]:
    insert(database_url, rows)
    async with called(database_url, folder) as call:
        found = {name: await call(name) for name in CALLS}
    assert {name: given for name, (given, _) in found.items()} == dict.fromkeys(CALLS, rows)
    return {name: statements for name, (_, statements) in found.items()}


@pytest.fixture
def another_database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    with fresh_database(postgres_url, template_database) as url:
        yield url


async def test_no_list_takes_more_statements_for_fifty_rows_than_for_one(
    database_url: str, another_database_url: str, tmp_path: Path
) -> None:
    few, many = await counts(database_url, 1, tmp_path), await counts(another_database_url, MANY, tmp_path)

    assert all(few.values())
    assert few == many


def test_every_list_that_is_built_is_counted() -> None:
    services = (api_pb2.DESCRIPTOR, access_control_pb2.DESCRIPTOR)
    lists = {
        method.name
        for file in services
        for service in file.services_by_name.values()
        for method in service.methods
        if method.name.startswith("List")
    }

    assert lists - NOT_BUILT <= CALLS.keys()
