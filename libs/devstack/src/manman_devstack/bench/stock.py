"""What is in the database while the api is measured: hosts with a history of offers, deployments, ended sessions.

Written with SQL, because hundreds of starts and ends through the platform would take longer than the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

HOSTS = 20
CONFIGS = 20
ENDED_SESSIONS = 2000

_FILL = """
INSERT INTO servers (name, status, last_seen, status_since, is_default, environment, features, public_address)
SELECT 'host-' || n, 'online', now(), now(), n = 1, 'production', '{phases,log_streams,completed}', '192.0.2.' || n
FROM generate_series(1, %(hosts)s) n;

INSERT INTO server_capabilities (server_id, total_memory_mb, available_memory_mb, cpu_cores, available_cpu_millicores,
                                 docker_version, available_ports, recorded_at)
SELECT server_id, 65536, 32768 - n, 16, 12000, '28.3.2',
       '[{"start": 27000, "end": 27999, "protocol": "TCP"}, {"start": 27000, "end": 27999, "protocol": "UDP"}]',
       now() - n * interval '1 minute'
FROM servers, generate_series(1, 20) n;

INSERT INTO games (name) VALUES ('game');

INSERT INTO game_configs (game_id, name, image, args_template, env_template)
SELECT game_id, 'config ' || n, 'game:1', '--map {{map}} --players {{players}}', '{"MODE": "survival"}'
FROM games, generate_series(1, %(configs)s) n;

INSERT INTO parameter_definitions (game_id, key) SELECT game_id, key FROM games, unnest(ARRAY['map', 'players']) key;

INSERT INTO game_config_parameter_values (config_id, param_id, position, value)
SELECT config_id, param_id, param_id, 'default' FROM game_configs, parameter_definitions;

INSERT INTO server_game_configs (server_id, game_config_id)
SELECT server_id, config_id FROM servers, game_configs;

INSERT INTO sessions (sgc_id, status, started_at, ended_at, exit_code, parameters, deadline_at, status_reason,
                      last_event_at, stop_requested_at, stop_requested_by, created_at)
SELECT sgc_id, 'stopped', now() - n * interval '1 hour', now() - n * interval '30 minutes', 0,
       '{"map": "islands", "players": "16"}', now(), 'stop_requested',
       now() - n * interval '30 minutes', now() - n * interval '31 minutes', 'somebody', now() - n * interval '1 hour'
FROM (SELECT n, (SELECT min(sgc_id) FROM server_game_configs) + n %% (%(hosts)s * %(configs)s) AS sgc_id
      FROM generate_series(1, %(sessions)s) n) numbered;
"""

_FORGET = """
DELETE FROM outbox;
DELETE FROM sessions WHERE status = 'pending';
DELETE FROM log_stream_deletions;
"""


@dataclass(frozen=True)
class Stock:
    """The ids of what was put in."""

    server_id: int
    deployment_ids: list[int]


def fill(database_url: str) -> Stock:
    """Fill an empty database of the newest schema."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        counts = {"hosts": HOSTS, "configs": CONFIGS, "sessions": ENDED_SESSIONS}
        for statement in _FILL.strip().split(";\n\n"):
            connection.execute(statement, counts)
        connection.execute("VACUUM ANALYZE")
        deployments = connection.execute("SELECT sgc_id FROM server_game_configs ORDER BY sgc_id").fetchall()
        server = connection.execute("SELECT max(server_id) FROM servers").fetchone()
    return Stock(server[0] if server else 0, [row[0] for row in deployments])


def forget_starts(database_url: str) -> None:
    """Take back every session that was started, so that each can be started again."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in _FORGET.strip().split("\n"):
            connection.execute(statement)
