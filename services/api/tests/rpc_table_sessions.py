"""The RPCs about sessions, their configuration and their actions: what each answers and what it refuses."""

import base64

from manman.errors import Conflict, Invalid, NotFound

from .rpc_rows import ABSENT, NOBODY, PAGE, Row, declines, holds, later, refuses, works

INPUT = base64.b64encode(b"say hello\n").decode()
STRATEGY = {"game_id": "<game>", "name": "<text>", "strategy_type": "file_json", "target_path": "/data/a.json"}
PATCH = {"strategy_id": "<strategy>", "patch_level": "game_config", "entity_id": "<config>", "patch_content": "a=b"}
ACTION = {"definition_level": "game", "entity_id": "<game>", "name": "<text>", "command_template": "save"}
MAP = {"name": "map", "field_type": "select", "options": [{"value": "de_dust2"}]}

SESSIONS: dict[str, list[Row]] = {
    # ---- Sessions
    "ListSessions": [
        works("ended", {"status_filter": ["crashed"]}, sessions=[{"session_id": "<ended>"}]),
        refuses(Invalid, "status_filter", status_filter=["exploded"]),
        PAGE,
    ],
    "GetSession": [
        works("known", {"session_id": "<session>"}, session={"status": "running", "server_id": "<server>"}),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "GetSessionCrashRecord": [
        works("crashed", {"session_id": "<ended>"}, record={"session_id": "<ended>"}),
        refuses(NotFound, "crash of session", session_id="<session>"),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "GetSessionStats": [
        works("now", {"session_id": "<session>"}, points=[{"cpu_cores": 0.5, "players": 3}], resolution_seconds=15),
        works("long ago", {"session_id": "<session>", "until": 86400}, points=[]),
        works("ended", {"session_id": "<ended>", "resolution_seconds": 60}, points=[], resolution_seconds=60),
        refuses(Invalid, "until", session_id="<session>", since=20, until=10),
        refuses(Invalid, "resolution_seconds", session_id="<session>", since=1, resolution_seconds=1),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "StartSession": [
        works(
            "new",
            {"server_game_config_id": "<new deployment>", "parameters": {"slots": "2"}},
            session={"status": "pending", "parameters": {"slots": "2"}},
        ),
        refuses(Conflict, "start with force", server_game_config_id="<deployment>"),
        refuses(Invalid, "parameters.slots", server_game_config_id="<deployment>", parameters={"slots": "many"}),
        refuses(NotFound, f"deployment {ABSENT}", server_game_config_id=NOBODY),
    ],
    "StopSession": [
        works("live", {"session_id": "<new session>"}, session={"status": "stopping"}),
        works("ended", {"session_id": "<ended>"}, session={"status": "crashed"}),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "SendInput": [
        works("running", {"session_id": "<session>", "input": INPUT}),
        refuses(Conflict, "is crashed", session_id="<ended>", input=INPUT),
        refuses(Invalid, "input", session_id="<session>"),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY, input=INPUT),
    ],
    # ---- Configuration
    "CreateConfigurationStrategy": [
        works("json", {**STRATEGY, "base_template": "{}"}, strategy={"base_template": "{}", "apply_order": 0}),
        refuses(Invalid, "strategy_type", **{**STRATEGY, "strategy_type": "volume"}),
        refuses(Invalid, "target_path", **{**STRATEGY, "target_path": "a.json"}),
        refuses(Invalid, "base_template", **STRATEGY, base_template="{"),
        refuses(NotFound, f"game {ABSENT}", **{**STRATEGY, "game_id": NOBODY}),
    ],
    "ListConfigurationStrategies": [
        works("none", {"game_id": "<new game>"}, strategies=[]),
        refuses(Invalid, "game_id", game_id=0),
    ],
    "UpdateConfigurationStrategy": [
        works(
            "mask",
            {"strategy_id": "<new strategy>", "apply_order": 0, "update_paths": ["apply_order"]},
            strategy={"apply_order": 0, "strategy_type": "file_properties"},
        ),
        refuses(Invalid, "update_paths", strategy_id="<strategy>", update_paths=["game_id"]),
        refuses(NotFound, f"configuration strategy {ABSENT}", strategy_id=NOBODY, name="x"),
    ],
    "DeleteConfigurationStrategy": [
        works("one", {"strategy_id": "<new strategy>"}),
        works("unknown", {"strategy_id": NOBODY}),
        refuses(Invalid, "strategy_id", strategy_id=0),
    ],
    "CreateConfigurationPatch": [
        works("properties", {**PATCH, "patch_format": "properties"}, patch={"patch_format": "properties"}),
        works("default format", PATCH, patch={"patch_format": "template", "patch_order": 0}),
        refuses(Invalid, "patch_level", **{**PATCH, "patch_level": "game"}),
        refuses(Invalid, "patch_format", **PATCH, patch_format="ini"),
        refuses(Invalid, "patch_content", **{**PATCH, "patch_content": "words"}),
        refuses(NotFound, f"game config {ABSENT}", **{**PATCH, "entity_id": NOBODY}),
        refuses(NotFound, f"configuration strategy {ABSENT}", **{**PATCH, "strategy_id": NOBODY}),
    ],
    "UpdateConfigurationPatch": [
        works(
            "whole",
            {"patch_id": "<new patch>", "patch_content": "a=c", "patch_order": 3},
            patch={"patch_content": "a=c", "patch_format": "template", "patch_order": 3},
        ),
        refuses(NotFound, f"patch {ABSENT}", patch_id=NOBODY),
    ],
    "DeleteConfigurationPatch": [
        works("one", {"patch_id": "<new patch>"}),
        works("unknown", {"patch_id": NOBODY}),
        refuses(Invalid, "patch_id", patch_id=0),
    ],
    "ListConfigurationPatches": [
        works("none", {"strategy_id": "<new strategy>"}, patches=[]),
        refuses(Invalid, "patch_level", patch_level="game"),
    ],
    "PreviewConfiguration": [
        works(
            "other values",
            {"session_id": "<session>", "parameter_overrides": {"slots": "3"}},
            configurations=holds("slots=3", "motd=hello"),
        ),
        refuses(Invalid, "parameters.slots", session_id="<session>", parameter_overrides={"slots": "x"}),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "GetSessionConfiguration": [
        works("not running yet", {"session_id": "<new session>"}, configurations=holds("slots=8")),
        works(
            "own",
            {"session_id": "<session>"},
            configurations=holds("slots=8", "motd=hello"),
            game_id="<game>",
            server_game_config_id="<deployment>",
            game_config_id="<config>",
        ),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    # ---- Actions
    "GetSessionActions": [
        works("running", {"session_id": "<session>"}, actions=lambda actions: len(actions) > 0),
        works("ended", {"session_id": "<ended>"}, actions=[]),
        refuses(Invalid, "session_id", session_id=0),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "ExecuteAction": [
        works(
            "sent",
            {"session_id": "<session>", "action_id": "<action>", "input_values": {"words": "hi"}},
            success=True,
            rendered_command="say hi",
            error_message="",
        ),
        declines(
            "input",
            {"session_id": "<session>", "action_id": "<action>"},
            success=False,
            error_message="Words (words): is required; fill it in",
        ),
        refuses(Conflict, "is crashed", session_id="<ended>", action_id="<action>"),
        refuses(NotFound, f"action {ABSENT}", session_id="<session>", action_id=NOBODY),
    ],
    "ListActionExecutions": [
        works("none", {"session_id": "<ended>"}, executions=[]),
        refuses(NotFound, f"session {ABSENT}", session_id=NOBODY),
    ],
    "CreateActionDefinition": [
        works("plain", {"action": ACTION}, action_id=lambda number: int(number) > 0),
        refuses(Invalid, "action", input_fields=[MAP]),
        refuses(Invalid, "action.entity_id", action={**ACTION, "entity_id": 0}),
        refuses(Invalid, "action.command_template", action={**ACTION, "command_template": "{{.nobody}}"}),
        refuses(NotFound, f"game {ABSENT}", action={**ACTION, "entity_id": NOBODY}),
    ],
    "UpdateActionDefinition": [
        works("whole", {"action": {**ACTION, "action_id": "<new action>"}, "input_fields": [MAP]}, success=True),
        refuses(Invalid, "action.action_id", action={**ACTION, "action_id": 0}),
        refuses(NotFound, f"action {ABSENT}", action={**ACTION, "action_id": NOBODY}),
    ],
    "DeleteActionDefinition": [
        works("one", {"action_id": "<new action>"}, success=True),
        works("unknown", {"action_id": NOBODY}, success=True),
        refuses(Invalid, "action_id", action_id=0),
    ],
    "ListActionDefinitions": [
        works("none", {"game_id": "<new game>"}, actions=[]),
        refuses(Invalid, "config_id", config_id=-1),
    ],
    "GetActionDefinition": [
        works("known", {"action_id": "<action>"}, action={"enabled": True}, input_fields=[{"name": "words"}]),
        refuses(NotFound, f"action {ABSENT}", action_id=NOBODY),
    ],
}

LATER: dict[str, list[Row]] = {
    "CreateBackup": later(session_id=1),
    "ListBackups": later(),
    "GetBackup": later(backup_id=1),
    "DeleteBackup": later(backup_id=1),
    "TriggerBackup": later(server_game_config_id=1, backup_config_id=1),
    "CreateBackupConfig": later(volume_id=1, cadence_minutes=60, backup_path="."),
    "GetBackupConfig": later(backup_config_id=1),
    "ListBackupConfigs": later(volume_id=1),
    "UpdateBackupConfig": later(backup_config_id=1),
    "DeleteBackupConfig": later(backup_config_id=1),
    "AddBackupConfigAction": later(backup_config_id=1, action_id=1),
    "RemoveBackupConfigAction": later(backup_config_id=1, action_id=1),
    "ListBackupConfigActions": later(backup_config_id=1),
    "SendBatchedLogs": later(server_id=1),
    "GetHistoricalLogs": later(session_id=1),
    "GetLogHistogram": later(session_id=1),
}
"""Backups and archived logs: not built yet. An RPC that is built leaves this table for the one above."""
