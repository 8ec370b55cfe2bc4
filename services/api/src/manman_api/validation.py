"""What is wrong with a request by the rules in its proto: a function that the chain calls before every servicer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import protovalidate

from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

WHOLE_REQUEST = "request"
"""The field named by a problem that is about more than one field."""

PATTERN_RULE = "string.pattern"

WHAT_TO_WRITE = {
    "^[a-z0-9_]+$": "use lower-case letters, digits and underscores only",
    "^[A-Za-z0-9_]+$": "use letters, digits and underscores only",
    "^[^=]+$": "a variable's name must not be empty and must not hold =",
    "^(SIG[A-Z0-9]+)?$": "use a signal's name, such as SIGINT, or leave it empty",
    "^([Tt][Cc][Pp]|[Uu][Dd][Pp])?$": "use TCP or UDP",
    "^([a-z0-9][a-z0-9_-]{0,49})?$": "use lower-case letters, digits, _ and -, at most 50, or leave it empty",
    "^([0-7]{3,4})?$": "use an octal file mode, such as 0644, or leave it empty",
}
"""What a person can do about each pattern of the protos. A regular expression is no advice."""


def request_rules() -> Callable[[Message], list[Problem]]:
    """Return the function. It compiles the rules of a message type when it first meets it (about 10 ms)."""
    validator = protovalidate.Validator()

    def problems_of(message: Message) -> list[Problem]:
        found = [
            Problem(_path(violation.proto.field), _advice(violation))
            for violation in validator.collect_violations(message)
        ]
        return found or _zero_bytes(message)

    return problems_of


def _advice(violation: protovalidate.Violation) -> str:
    if violation.proto.rule_id == PATTERN_RULE:
        return WHAT_TO_WRITE.get(str(violation.rule_value), violation.proto.message)
    return str(violation.proto.message)


def _path(field: Any) -> str:  # noqa: ANN401 - a message of protovalidate's own runtime
    """Write a field path as people do: `port_bindings[0].host_port`, `env_template["A"]`."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            key = element.subscript.value
            path += f'["{key}"]' if isinstance(key, str) else f"[{key}]"
    return path or WHOLE_REQUEST


def _zero_bytes(message: Message) -> list[Problem]:
    """Find texts that hold U+0000: valid in protobuf and JSON, but Postgres cannot store it."""
    if b"\x00" not in message.SerializeToString():
        return []
    return [Problem(path, "must not hold the character U+0000") for path in _texts_with_zero(message, "")]


def _texts_with_zero(message: Message, prefix: str) -> list[str]:
    found: list[str] = []
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            items = [*value.keys(), *(item for item in value.values() if isinstance(item, str))]
        else:
            items = list(value) if field.is_repeated else [value]
        for item in items:
            if isinstance(item, str) and "\x00" in item:
                found.append(path)
            elif hasattr(item, "ListFields"):
                found += _texts_with_zero(item, f"{path}.")
    return found
