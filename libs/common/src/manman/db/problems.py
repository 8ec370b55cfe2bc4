"""What the database refuses, in the words of `manman.errors`. Nothing above this package sees a driver's exception.

    unique violation                     -> AlreadyExists; a host port -> Exhausted; a second live session -> Conflict
    foreign key: the parent is not there -> NotFound;  the parent is still used -> Conflict
    CHECK, NOT NULL, too long, bad value -> Invalid
    lock timeout, deadlock, serialization, shutdown, lost or refused connection -> Unavailable
    a table or column that is not there, or a database that only reads         -> Unavailable: it is not ready for us

Anything else passes unchanged: it is a bug of ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg

from manman.errors import AlreadyExists, Conflict, Exhausted, Invalid, ManManError, NotFound, Problem, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = {
    "servers": "server",
    "games": "game",
    "game_configs": "game config",
    "game_config_files": "game config file",
    "game_config_volumes": "volume",
    "game_config_parameter_values": "game config parameter",
    "parameter_definitions": "parameter",
    "server_game_configs": "deployment",
    "server_game_config_parameter_values": "deployment parameter",
    "sessions": "session",
    "configuration_strategies": "configuration strategy",
    "action_definitions": "action",
    "action_input_fields": "action input field",
    "action_input_options": "action input option",
    "backups": "backup",
    "backup_configs": "backup config",
    "workshop_addons": "addon",
    "workshop_installations": "installation",
    "workshop_libraries": "library",
    "game_addon_path_presets": "path preset",
}
_DETAIL = re.compile(r"\((?P<columns>.*)\)=\((?P<values>.*)\)")

LIVE_SESSION = "uq_sessions_one_live"
HOST_PORT = "pk_server_ports"


def translate(error: BaseException | None) -> ManManError | None:
    """Return the error of the family that `error` of the driver means, or None when it means a bug of ours."""
    if not isinstance(error, psycopg.Error):
        return None
    for kinds, meaning in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(error)
    return None


def _kind(table: str | None) -> str:
    return _KINDS.get(table or "", (table or "row").replace("_", " "))


def _key(error: psycopg.Error) -> tuple[list[str], list[str]]:
    match = _DETAIL.search(error.diag.message_detail or "")
    if match is None:
        return [], []
    return match["columns"].split(", "), match["values"].split(", ")


def _not_unique(error: psycopg.Error) -> ManManError:
    columns, values = _key(error)
    key = dict(zip(columns, values, strict=False))
    if error.diag.constraint_name == LIVE_SESSION:
        return Conflict(
            f"deployment {key.get('sgc_id', '')} already has a live session; stop it first, or start with force"
        )
    if error.diag.constraint_name == HOST_PORT:
        return Exhausted(
            f"{key.get('protocol', '')} port {key.get('port', '')} of server {key.get('server_id', '')}",
            "another deployment",
        )
    return AlreadyExists(_kind(error.diag.table_name), key.get("name") or ", ".join(values) or "with this key")


def _broken_reference(error: psycopg.Error) -> ManManError:
    columns, values = _key(error)
    detail = error.diag.message_detail or ""
    if "is still referenced" in detail:
        return Conflict(f"it is still used by a {_kind(error.diag.table_name)}; remove that first")
    parent = re.search(r'is not present in table "(?P<table>[^"]+)"', detail)
    return NotFound(_kind(parent["table"] if parent else None), values[0] if values else columns)


def _refused_value(error: psycopg.Error) -> Invalid:
    if isinstance(error, pg.NotNullViolation):
        return Invalid([Problem(error.diag.column_name or "request", "must be set")])
    table, constraint = error.diag.table_name or "", error.diag.constraint_name or ""
    field = constraint.removeprefix(f"ck_{table}_") or "request"
    return Invalid([Problem(field, f"is not a value that a {_kind(table)} can have")])


def _wrong_data(error: psycopg.Error) -> Invalid:
    return Invalid([Problem(error.diag.column_name or "request", _first_line(error))])


def _busy(_: psycopg.Error) -> Unavailable:
    return Unavailable("the database is busy, try again")


def _away(error: psycopg.Error) -> Unavailable:
    """Deadlock, serialization, shutdown, too many connections, lost or refused connection."""
    return Unavailable(f"the database is not available: {_first_line(error)}")


def _not_ready(error: psycopg.Error) -> Unavailable:
    """Before the migration, in the middle of an upgrade, or while a standby takes over."""
    hint = "" if isinstance(error, pg.ReadOnlySqlTransaction) else "; run the migration of this version"
    return Unavailable(f"the database is not ready: {_first_line(error)}{hint}")


def _first_line(error: psycopg.Error) -> str:
    text = (error.diag.message_primary or str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


_MEANINGS: tuple[tuple[tuple[type[psycopg.Error], ...], Callable[[psycopg.Error], ManManError]], ...] = (
    ((pg.UniqueViolation,), _not_unique),
    ((pg.ForeignKeyViolation, pg.RestrictViolation), _broken_reference),
    ((pg.CheckViolation, pg.NotNullViolation), _refused_value),
    ((psycopg.DataError,), _wrong_data),
    ((pg.LockNotAvailable, pg.QueryCanceled), _busy),
    ((pg.UndefinedTable, pg.UndefinedColumn, pg.ReadOnlySqlTransaction), _not_ready),
    ((psycopg.OperationalError, psycopg.InterfaceError, pg.IdleInTransactionSessionTimeout), _away),
)
