"""The RPCs about what there is and where it runs: what each answers and what it refuses."""

from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, NotFound

from .rpc_rows import ABSENT, NOBODY, PAGE, Row, declines, refuses, works

CONFIG = {"game_id": "<game>", "name": "<text>", "image": "game:1"}
VOLUME = {"config_id": "<config>", "name": "<text>", "container_path": "/saves"}
PLACE = {"server_id": "<server>", "game_config_id": "<new config>"}
HELD = [{"container_port": 7777, "host_port": "<port>", "protocol": "UDP"}]

CATALOGUE: dict[str, list[Row]] = {
    # ---- Servers
    "ListServers": [works("first", {"page_size": 1}, servers=[{"name": "host"}], next_page_token="MQ=="), PAGE],
    "GetServer": [
        works("known", {"server_id": "<server>"}, server={"server_id": "<server>", "status": "online"}),
        refuses(Invalid, "server_id", server_id=0),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    "CreateServer": [
        works("new", {"name": "<text>"}, server={"status": "offline", "is_default": False}),
        refuses(Invalid, "name", name=""),
        refuses(AlreadyExists, "server host already exists", name="host"),
    ],
    "UpdateServer": [
        works(
            "mask",
            {"server_id": "<new server>", "name": "<text>", "status": "online", "update_paths": ["status"]},
            server={"status": "online"},
        ),
        refuses(Invalid, "update_paths", server_id="<server>", update_paths=["environment"]),
        refuses(Invalid, "status", server_id="<server>", status="away"),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY, name="x"),
    ],
    "DeleteServer": [
        works("one", {"server_id": "<new server>"}),
        works("unknown", {"server_id": NOBODY}),
        refuses(Conflict, "live sessions", server_id="<server>"),
    ],
    "RegisterServer": [
        works("again", {"name": "host"}, server_id="<server>", server={"status": "online"}),
        refuses(Invalid, "name", environment="x"),
    ],
    "Heartbeat": [
        works("known", {"server_id": "<server>"}, acknowledged=True, next_heartbeat_seconds="30"),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    "DrainServer": [
        works("one", {"server_id": "<new server>"}, server={"draining": True}),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    "UndrainServer": [
        works("one", {"server_id": "<new server>"}, server={"draining": False}),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    "ListServerCapabilities": [
        works("newest", {"server_id": "<server>", "limit": 1}, capabilities=[{"total_memory_mb": 8192}]),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    "GetServerStats": [
        works("now", {"server_id": "<server>"}, points=[{"cpu_count": 2, "load": 1.5}], resolution_seconds=15),
        works("a day", {"server_id": "<server>", "since": 1, "until": 86401}, points=[], resolution_seconds=300),
        refuses(Invalid, "resolution_seconds", server_id="<server>", resolution_seconds=86401),
        refuses(NotFound, f"server {ABSENT}", server_id=NOBODY),
    ],
    # ---- Games
    "ListGames": [works("all", {}, games=lambda games: len(games) > 0), PAGE],
    "GetGame": [
        works("known", {"game_id": "<game>"}, game={"game_id": "<game>"}),
        refuses(NotFound, f"game {ABSENT}", game_id=NOBODY),
    ],
    "CreateGame": [
        works(
            "whole",
            {"name": "<text>", "steam_app_id": "730", "metadata": {"genre": "fps", "tags": ["a"]}},
            game={"steam_app_id": "730", "metadata": {"genre": "fps", "tags": ["a"]}},
        ),
        refuses(Invalid, "name", steam_app_id="730"),
    ],
    "UpdateGame": [
        works(
            "cleared",
            {"game_id": "<new game>", "steam_app_id": "", "update_paths": ["steam_app_id", "metadata"]},
            game={"steam_app_id": ""},
        ),
        refuses(Invalid, "name", game_id="<game>", name="", update_paths=["name"]),
        refuses(NotFound, f"game {ABSENT}", game_id=NOBODY, name="x"),
    ],
    "DeleteGame": [
        works("one", {"game_id": "<new game>"}),
        works("unknown", {"game_id": NOBODY}),
        refuses(Conflict, "live sessions", game_id="<game>"),
    ],
    # ---- Game configs
    "ListGameConfigs": [
        works("none", {"game_id": "<new game>"}, configs=[], next_page_token=""),
        refuses(Invalid, "game_id", game_id=-1),
        PAGE,
    ],
    "GetGameConfig": [
        works("known", {"config_id": "<config>"}, config={"game_id": "<game>", "parameters": [{"key": "slots"}]}),
        refuses(NotFound, f"game config {ABSENT}", config_id=NOBODY),
    ],
    "CreateGameConfig": [
        works(
            "whole",
            {**CONFIG, "entrypoint": ["/run"], "command": ["-x"], "files": [{"path": "/a"}]},
            config={"entrypoint": ["/run"], "command": ["-x"], "files": [{"path": "/a", "mode": "0644"}]},
        ),
        refuses(Invalid, "image", **{**CONFIG, "image": ""}),
        refuses(
            Invalid,
            "parameters[0].min_value",
            **CONFIG,
            parameters=[{"key": "n", "type": "int", "min_value": 2, "max_value": 1}],
        ),
        refuses(NotFound, f"game {ABSENT}", **{**CONFIG, "game_id": NOBODY}),
    ],
    "UpdateGameConfig": [
        works(
            "mask",
            {"config_id": "<new config>", "env_template": {"A": "1"}, "update_paths": ["env_template"]},
            config={"env_template": {"A": "1"}, "image": "game:1"},
        ),
        refuses(Invalid, "update_paths", config_id="<config>", update_paths=["game_id"]),
        refuses(NotFound, f"game config {ABSENT}", config_id=NOBODY, name="x"),
    ],
    "DeleteGameConfig": [
        works("one", {"config_id": "<new config>"}),
        works("unknown", {"config_id": NOBODY}),
        refuses(Conflict, "live sessions", config_id="<config>"),
    ],
    # ---- Volumes
    "CreateGameConfigVolume": [
        works("bind", VOLUME | {"config_id": "<new config>"}, volume={"volume_type": "bind", "read_only": False}),
        refuses(Invalid, "container_path", **{**VOLUME, "container_path": "saves"}),
        refuses(Invalid, "host_subpath", **VOLUME, host_subpath="../x"),
        refuses(NotFound, f"game config {ABSENT}", **{**VOLUME, "config_id": NOBODY}),
    ],
    "GetGameConfigVolume": [
        works("known", {"volume_id": "<volume>"}, volume={"config_id": "<config>"}),
        refuses(NotFound, f"volume {ABSENT}", volume_id=NOBODY),
    ],
    "ListGameConfigVolumes": [
        works("all", {"config_id": "<new config>"}, volumes=[{"name": "data", "container_path": "/data"}]),
        refuses(Invalid, "config_id", config_id=0),
    ],
    "UpdateGameConfigVolume": [
        works(
            "whole",
            {"volume_id": "<new volume>", "name": "<text>", "container_path": "<path>", "read_only": True},
            volume={"volume_type": "bind", "read_only": True},
        ),
        refuses(Invalid, "name", volume_id="<volume>", container_path="/x"),
        refuses(NotFound, f"volume {ABSENT}", volume_id=NOBODY, name="x", container_path="/x"),
    ],
    "DeleteGameConfigVolume": [
        works("one", {"volume_id": "<new volume>"}),
        works("unknown", {"volume_id": NOBODY}),
        refuses(Invalid, "volume_id", volume_id=0),
    ],
    # ---- Deployments
    "ListServerGameConfigs": [
        works("none", {"server_id": "<new server>"}, configs=[]),
        refuses(Invalid, "server_id", server_id=-1),
        PAGE,
    ],
    "GetServerGameConfig": [
        works("known", {"server_game_config_id": "<deployment>"}, config={"port_bindings": HELD, "status": "inactive"}),
        refuses(NotFound, f"deployment {ABSENT}", server_game_config_id=NOBODY),
    ],
    "DeployGameConfig": [
        works(
            "any port",
            {**PLACE, "port_bindings": [{"container_port": 1}], "parameters": {"slots": "9"}},
            config={"port_bindings": [{"protocol": "TCP"}], "parameters": {"slots": "9"}, "status": "inactive"},
        ),
        refuses(AlreadyExists, "already exists", server_id="<server>", game_config_id="<config>", port_bindings=HELD),
        refuses(Exhausted, "is held by deployment", **PLACE, port_bindings=HELD),
        refuses(Invalid, "parameters.slots", **PLACE, parameters={"slots": "65"}),
        refuses(NotFound, f"server {ABSENT}", **{**PLACE, "server_id": NOBODY}),
    ],
    "UpdateServerGameConfig": [
        works(
            "ports",
            {
                "server_game_config_id": "<new deployment>",
                "port_bindings": [{"container_port": 2}],
                "update_paths": ["port_bindings"],
            },
            config={"port_bindings": [{"container_port": 2}]},
        ),
        refuses(Conflict, "in use by session", server_game_config_id="<deployment>", update_paths=["port_bindings"]),
        refuses(Invalid, "status", server_game_config_id="<deployment>", status="broken"),
        refuses(NotFound, f"deployment {ABSENT}", server_game_config_id=NOBODY, status="active"),
    ],
    "BatchUpdateServerGameConfigs": [
        works(
            "one",
            {"requests": [{"server_game_config_id": "<new deployment>", "status": "active"}]},
            configs=[{"status": "active"}],
        ),
        refuses(Invalid, "requests", requests=[]),
        refuses(NotFound, "requests[0]", requests=[{"server_game_config_id": NOBODY, "status": "active"}]),
    ],
    "GetEffectiveEnv": [
        works("none", {"server_game_config_id": "<deployment>"}, variables=[]),
        refuses(NotFound, f"deployment {ABSENT}", server_game_config_id=NOBODY),
    ],
    "DeleteServerGameConfig": [
        works("one", {"server_game_config_id": "<new deployment>"}),
        works("unknown", {"server_game_config_id": NOBODY}),
        refuses(Conflict, "has the live session", server_game_config_id="<deployment>"),
    ],
    "ValidateDeployment": [
        works("good", PLACE, valid=True, issues=[], estimate={"estimated_memory_mb": 1024}),
        declines(
            "port", {**PLACE, "port_bindings": HELD}, valid=False, issues=[{"field": "port_bindings[0].host_port"}]
        ),
        declines("host", {"server_id": NOBODY, "game_config_id": 1}, valid=False, issues=[{"field": "server_id"}]),
    ],
}
