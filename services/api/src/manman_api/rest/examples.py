"""Example values for the OpenAPI document: one for each field, told once, and request bodies made of them.

The examples tell one story, an OpenTTD server on the host `berlin-1`, in which every id is 1: against such a platform
each request works as it is written. A field's example is found by `Noun.field`, else by `field`; what holds no text
(ids, enums, choices) is derived.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from google.protobuf.descriptor import Descriptor

_MOMENT = "1789300000"
_TIMES = re.compile(
    r".*_at|.*timestamp|at|since|until|last_seen|last_updated|started_(after|before)|session_(start|end)"
)

EXAMPLES: dict[str, Any] = {
    # hosts
    "Server.name": "berlin-1",
    "Server.status": "online",
    "environment": "home",
    "public_address": "games.example.org",
    "announced_address": "203.0.113.7",
    "features": ["entrypoint", "config_files", "read_only_volumes"],
    "control_plane_features": ["status_reasons", "phases", "log_streams"],
    "docker_version": "27.3.1",
    "cpu_cores": 8,
    "total_memory_mb": 16384,
    "available_memory_mb": 9216,
    "available_cpu_millicores": 6500,
    "next_heartbeat_seconds": "3",
    "PortRange.start": 27000,
    "PortRange.end": 27999,
    "protocol": "TCP",
    "resolution_seconds": 15,
    "cpu_cores_peak": 1.25,
    "cpu_count": 8,
    "load": 1.5,
    "memory_bytes": "734003200",
    "memory_bytes_peak": "817889280",
    "memory_limit_bytes": "2147483648",
    "memory_total_bytes": "17179869184",
    "disk_bytes": "96636764160",
    "disk_total_bytes": "512110190592",
    "received_bytes_per_second": 5120.5,
    "sent_bytes_per_second": 40960.5,
    "read_bytes_per_second": 0.0,
    "written_bytes_per_second": 8192.5,
    "SessionStatsPoint.cpu_cores": 0.5,
    "ServerStatsPoint.cpu_cores": 2.5,
    "players": 3.0,
    "players_peak": 4,
    "players_max": 20,
    # games
    "Game.name": "OpenTTD",
    "steam_app_id": "1536610",
    "genre": "transport simulation",
    "publisher": "the OpenTTD team",
    "default_players": 8,
    "max_players": 255,
    "links": {"homepage": "https://www.openttd.org"},
    "tags": ["simulation", "cooperative"],
    # configs
    "GameConfig.name": "Small map",
    "image": "ghcr.io/openttd/openttd:14.1",
    "args_template": "-D 0.0.0.0:3979",
    "env_template": {"TZ": "UTC"},
    "entrypoint": ["/usr/games/openttd"],
    "command": ["-D", "0.0.0.0:3979"],
    "FileTemplate.path": "/data/openttd.cfg",
    "FileTemplate.content": "[network]\nmax_clients = {{max_clients}}\n",
    "mode": "0644",
    "is_template": True,
    "Parameter.key": "max_clients",
    "Parameter.value": "8",
    "Parameter.type": "int",
    "Parameter.description": "How many people may play at once",
    "Parameter.default_value": "8",
    "Parameter.min_value": "1",
    "Parameter.max_value": "255",
    "allowed_values": ["8", "16", "32"],
    "memory_mb": 512,
    "cpu_millicores": 1000,
    "pids": 200,
    "stop_command": "exit",
    "stop_timeout_seconds": 20,
    "stop_signal": "SIGINT",
    "ready_pattern": "starting server",
    "ReadyQuery.kind": "tcp",
    "ReadyQuery.port": "game",
    "liveness_limit_seconds": 60,
    "RestartPolicy.policy": "on_crash",
    "max_attempts": 3,
    "window_seconds": 600,
    "backoff_seconds": 5,
    # volumes
    "GameConfigVolume.name": "saves",
    "GameConfigVolume.description": "Saved games",
    "container_path": "/data",
    "host_subpath": "saves",
    "volume_type": "bind",
    # deployments
    "ValidateDeploymentRequest.server_id": "1",
    "ValidateDeploymentRequest.game_config_id": "1",
    "container_port": 3979,
    "host_port": 27015,
    "PortBinding.name": "game",
    "ConnectAddress.address": "games.example.org:27015",
    "ConnectAddress.name": "game",
    "env_overrides": {"TZ": "Europe/Berlin"},
    "EffectiveVariable.name": "TZ",
    "EffectiveVariable.value": "Europe/Berlin",
    "EffectiveVariable.source": "server_game_config",
    "parameters": {"max_clients": "16"},
    "parameter_overrides": {"max_clients": "16"},
    "ServerGameConfig.status": "active",
    "RestartState.state": "crash_loop",
    "RestartState.reason": "crash loop: 3 restarts within 600 s",
    "attempt": 3,
    "estimated_memory_mb": 512,
    "estimated_cpu_millicores": 1000,
    "allocated_ports": [27015],
    "ValidationIssue.field": "port_bindings[0].host_port",
    "ValidationIssue.message": "port 27015/TCP is held by deployment 2",
    "suggestion": "choose another port, or 0 for any",
    # configuration
    "ConfigurationStrategy.name": "Server settings",
    "strategy_name": "Server settings",
    "ConfigurationStrategy.description": "What the server reads at its start",
    "strategy_type": "file_properties",
    "target_path": "/data/server.properties",
    "base_template": "max-clients={{max_clients}}\n",
    "render_options": {"mode": "0644"},
    "apply_order": 10,
    "patch_level": "game_config",
    "patch_content": "motd=Welcome\n",
    "patch_format": "properties",
    "patch_order": 10,
    "path_override": "/data/other.properties",
    "base_content": "max-clients=16\n",
    "rendered_content": "max-clients=16\nmotd=Welcome\n",
    "PatchLayer.level": "game_config",
    "origin": "patch",
    # sessions
    "Session.status": "running",
    "Session.exit_code": 0,
    "status_reason": "stop_requested",
    "status_message": "the game ended by itself",
    "phase": "pull",
    "progress_percent": 40,
    "restart_attempt": 1,
    "input": "c2F2ZSBhdXRvc2F2ZQo=",
    "error_message": "the host did not answer",
    "extra_capabilities": ["SYS_NICE"],
    "Session.exit_signal": 11,
    "CrashRecord.exit_code": 139,
    "CrashRecord.signal": 11,
    "CrashRecord.reason": "signal",
    "CrashRecord.message": "the game was ended by signal 11 (SIGSEGV) (exit code 139)",
    "CrashLine.timestamp": "1789300000000",
    "CrashLine.source": "stderr",
    "CrashLine.message": "Segmentation fault",
    # actions
    "definition_level": "game",
    "ActionDefinition.name": "save_map",
    "ActionDefinition.label": "Save the map",
    "ActionDefinition.description": "Writes a saved game into the volume",
    "command_template": "save {{.map_name}}",
    "group_name": "Maps",
    "button_style": "primary",
    "icon": "save",
    "confirmation_message": "Save the map now?",
    "enabled": True,
    "ActionInputField.name": "map_name",
    "ActionInputField.label": "Name",
    "ActionInputField.default_value": "autosave",
    "placeholder": "autosave",
    "help_text": "Letters and digits",
    "field_type": "text",
    "pattern": "^[A-Za-z0-9]+$",
    "min_length": 1,
    "max_length": 40,
    "ActionInputField.min_value": 1.0,
    "ActionInputField.max_value": 10.0,
    "ActionInputOption.label": "Small",
    "ActionInputOption.value": "small",
    "display_order": 1,
    "input_values": {"map_name": "friday"},
    "rendered_command": "save friday",
    "action_name": "save_map",
    "triggered_by": "mm_1:first-admin",
    "ActionExecution.status": "success",
    # logs
    "batch_id": "1-1789300000",
    "LogBatch.session_id": "1",
    "LogBatch.start_timestamp": _MOMENT,
    "LogBatch.end_timestamp": _MOMENT,
    "line_count": 2,
    "compressed_logs": "H4sIAAAAAAACA8vJLC5JzcvMS+cqSk1MqeQCAJBu3RoQAAAA",
    "HistoricalLogBatch.content": "[host] starting\n[stdout] listening\n",
    "accepted_batches": 1,
    "failed_batch_ids": ["1-1789300060"],
    "total_lines": 2,
    "granularity": "1m",
    "stdout_lines": 40,
    "stderr_lines": 1,
    "host_lines": 2,
    "LogMessage.message": "Map generated, starting server",
    "LogMessage.source": "stdout",
    "sequence_number": "17",
    "after_sequence_number": "17",
    # backups
    "Backup.description": "before the update",
    "Backup.status": "completed",
    "backup_path": "saves",
    "cadence_minutes": 60,
    "keep_last": 7,
    "max_age_days": 30,
    "s3_url": "s3://manman-backups/1/1.tar.gz",
    "size_bytes": "1048576",
    "display_orders": [1],
    # workshop
    "WorkshopAddon.name": "Better roads",
    "Addon.name": "Better roads",
    "WorkshopAddon.description": "Wider roads",
    "Addon.description": "Wider roads",
    "WorkshopLibrary.name": "Starter pack",
    "Library.name": "Starter pack",
    "WorkshopLibrary.description": "What everybody needs",
    "Library.description": "What everybody needs",
    "child_library_id": "2",
    "GameAddonPathPreset.name": "Default folder",
    "AddonPathPreset.name": "Default folder",
    "GameAddonPathPreset.description": "Where the game looks for add-ons",
    "AddonPathPreset.description": "Where the game looks for add-ons",
    "workshop_id": "2947463510",
    "platform_type": "steam_workshop",
    "file_size_bytes": "1048576",
    "installation_path": "addons",
    "installation_path_override": "addons/extra",
    "metadata": '{"author": "somebody"}',
    "WorkshopInstallation.status": "installed",
    "total_count": 1,
    # access
    "ApiToken.name": "host-berlin",
    "secret": "mm_1_…",
    "role": "host",
    "subject": "mm_1:first-admin",
    "rpc": "ManManAPI.StopSession",
    "AuditEntry.ids": {"session_id": "1"},
    "code": "OK",
    "request_id": "3f2b8c1d9e0a4b7f8c6d5e4f3a2b1c0d",
    # dead letters
    "queue": "processor-events",
    "routing_key": "status.session.1",
    "DeadLetter.message_id": "5f0c6a52-0d4e-4c43-9c5e-1f6b7a1f3f10",
    "DeadLetter.reason": "NotFound",
    "DeadLetter.error": "session 1 does not exist",
    "DeadLetter.replayed_by": "mm_1:first-admin",
    "DeadLetter.size_bytes": "17",
    "GetDeadLetterResponse.body": '{"session_id": 1}',
    "body_encoding": "json",
    "headers": {"x-manman-reason": "NotFound"},
    "replayed": "1",
    "purged": "1",
    # the log of events
    "after_position": "0",
    "from_position": "1",
    "to_position": "0",
    "position": "1",
    "last_position": "1",
    "routing_keys": ["manman.session.#"],
    "Event.event_id": "6f0c2c06-5a7e-4e0f-9f3f-6f0f0d6f2f11",
    "Event.routing_key": "manman.session.crashed",
    "Event.body": '{"session_id": 1, "sgc_id": 1, "status": "crashed"}',
    "ReplayEventsResponse.replayed": 1,
    # pages
    "page_size": 50,
    "page_token": "NTA=",
    "next_page_token": "NTA=",
    "limit": 50,
    "offset": 0,
    "update_paths": ["name"],
}

NOT_IN_REQUESTS = frozenset(
    {
        "update_paths",  # PATCH knows them from the body
        "args_template",  # command says the same
        "Parameter.value",  # the default is enough
        "allowed_values",  # and so are the limits
        "path_override",
        "ActionInputField.min_value",  # of another type of field
        "ActionInputField.max_value",
        "ActionInputField.options",
        "CreateActionDefinitionRequest.input_fields",  # they are in the action
        "UpdateActionDefinitionRequest.input_fields",
        "input_options",
        "action_name",
        "queue",  # the letters are named
        "expires_at",  # an example that is true today is false some day
    }
)
"""What a request of the story leaves out; it has an example all the same."""


def of_field(field: FieldDescriptor) -> Any | None:  # noqa: ANN401 - any JSON value
    """Return the example of a field that holds no message, None where there is none (a bool that is false)."""
    for name in _names(field):
        if name in EXAMPLES:
            return EXAMPLES[name]
    single = _derived(field)
    return [single] if field.is_repeated and single is not None else single


def of_request(message: Descriptor, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the example of a request: every field that has one and makes sense beside the others, but `without`."""
    example: dict[str, Any] = {}
    for field in message.fields:
        if field.name in without or NOT_IN_REQUESTS.intersection(_names(field)):
            continue
        value = _in_request(field)
        if value not in (None, {}, [], [{}]):
            example[field.name] = value
    return example


def _in_request(field: FieldDescriptor) -> Any | None:  # noqa: ANN401 - any JSON value
    if field.message_type is not None and not field.message_type.GetOptions().map_entry:
        part = of_request(field.message_type)
        return [part] if field.is_repeated else part
    if field.type == FieldDescriptor.TYPE_INT64 and not _needed(field):
        return next((EXAMPLES[name] for name in _names(field) if name in EXAMPLES), None)
    return of_field(field)


def _needed(field: FieldDescriptor) -> bool:
    """Tell an id that a request must name from one that only answers have, and from a time."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return field.name == "entity_id" or bool(rules.int64.HasField("gt"))


def _derived(field: FieldDescriptor) -> Any | None:  # noqa: ANN401 - any JSON value
    rules = field.GetOptions().Extensions[validate_pb2.field]
    choices = getattr(rules.repeated.items.string if field.is_repeated else rules.string, "in")
    if choices:
        return choices[0]
    if field.enum_type is not None:
        return field.enum_type.values[1].name
    if field.type == FieldDescriptor.TYPE_INT64 and re.search("_ids?(_override)?$", field.name):
        return "1"
    if field.type == FieldDescriptor.TYPE_INT64 and _TIMES.fullmatch(field.name):
        return _MOMENT
    return None


def _names(field: FieldDescriptor) -> Iterator[str]:
    """Give what a field's example may be told by: `CreateServerRequest.name` is a server's name."""
    message = field.full_name.split(".")[-2]
    yield f"{message}.{field.name}"
    noun = re.sub("^(Create|Update|Register)|Request$", "", message)
    yield f"{noun}.{field.name}"
    yield field.name
