"""Parameters: named values that a config declares and each level may set.

Values are text everywhere. Later levels win: declared default, config value, deployment, session. Keys that nobody
declared are kept and reported; they may still be placeholders somewhere.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

SECRET = "secret"  # noqa: S105 - the name of a type
TYPES = ("string", "int", "bool", SECRET)

MASK = "***"
"""Stands for a secret wherever it is not to be read."""

_KEY = re.compile(r"[A-Za-z0-9_]+")
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_BOOLS = frozenset({"1", "0", "t", "f", "true", "false"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A parameter as a config declares it; `type` "" means string. Limits apply to int, `allowed_values` to string."""

    key: str
    type: str = "string"
    value: str = ""
    default_value: str = ""
    description: str = ""
    required: bool = False
    min_value: int | None = None
    max_value: int | None = None
    allowed_values: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """The final values, with "" for what was declared and never set; `warnings` are for people, not errors."""

    values: dict[str, str]
    warnings: tuple[Problem, ...] = ()


def check_declared(declared: Sequence[Declared]) -> None:
    """Raise `Invalid` with every problem of a declaration: key, type, limits, a default against its own type."""
    problems = []
    seen: set[str] = set()
    for index, parameter in enumerate(declared):
        field = f"parameters[{index}]"
        if not _KEY.fullmatch(parameter.key):
            problems.append(Problem(f"{field}.key", f"use letters, digits and _ only, not {parameter.key!r}"))
        if parameter.key in seen:
            problems.append(Problem(f"{field}.key", f"{parameter.key} is declared twice; remove one"))
        seen.add(parameter.key)
        if type_of(parameter) not in TYPES:
            problems.append(Problem(f"{field}.type", f"use one of {', '.join(TYPES)}, not {parameter.type!r}"))
            continue
        low, high = parameter.min_value, parameter.max_value
        if low is not None and high is not None and low > high:
            problems.append(Problem(f"{field}.min_value", f"must not be above max_value {high}"))
        for name, value in (("default_value", parameter.default_value), ("value", parameter.value)):
            text = _complaint(parameter, value) if value else None
            if text:
                problems.append(Problem(f"{field}.{name}", text))
    if problems:
        raise Invalid(problems)


def resolve(declared: Sequence[Declared], layers: Sequence[Mapping[str, str]]) -> Resolved:
    """Merge defaults, config values and `layers` (later wins), and check the result.

    Raises `Invalid` with every missing and every malformed value. A required parameter must be present; an empty value
    counts as present and gives a warning.
    """
    merged = {parameter.key: parameter.default_value for parameter in declared if parameter.default_value}
    merged |= {parameter.key: parameter.value for parameter in declared if parameter.value}
    for layer in layers:
        merged |= layer
    problems = []
    warnings = []
    for parameter in declared:
        field = f"parameters.{parameter.key}"
        value = merged.get(parameter.key)
        if value is None:
            if parameter.required:
                problems.append(Problem(field, f"a {type_of(parameter)} value is required; set it"))
            continue
        text = _complaint(parameter, value)
        if text:
            problems.append(Problem(field, text))
        elif parameter.required and not value:
            warnings.append(Problem(field, "is required but empty"))
    if problems:
        raise Invalid(problems)
    known = {parameter.key for parameter in declared}
    warnings += [
        Problem(f"parameters.{key}", "is not declared by the config") for key in sorted(merged) if key not in known
    ]
    return Resolved({**dict.fromkeys(known - set(merged), ""), **merged}, tuple(warnings))


def secrets_of(declared: Sequence[Declared], layers: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """Return every value that a declared secret has at some level, and each line of it: what `hide` looks for."""
    values = {
        value
        for parameter in declared
        if type_of(parameter) == SECRET
        for value in (parameter.default_value, parameter.value, *(layer.get(parameter.key, "") for layer in layers))
    }
    return frozenset(filter(None, values | {line for value in values for line in value.splitlines()}))


def hide(text: str, secrets: Collection[str]) -> str:
    """Return `text` with `MASK` in the place of each secret."""
    if not secrets:
        return text
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text)


def type_of(parameter: Declared) -> str:
    """Return the type in its stored form."""
    return parameter.type or "string"


def _complaint(parameter: Declared, value: str) -> str | None:
    """Return what to do about a value that does not fit, None when it fits. Never quotes a secret."""
    kind = type_of(parameter)
    if kind == "int":
        return _int_complaint(parameter, value)
    if kind == "bool":
        return None if value.lower() in _BOOLS else f"use true or false, not {value!r}"
    if kind == "string" and parameter.allowed_values and value not in parameter.allowed_values:
        return f"use one of {', '.join(parameter.allowed_values)}, not {value!r}"
    return None


def _int_complaint(parameter: Declared, value: str) -> str | None:
    if not _INT.fullmatch(value) or not _INT_MIN <= int(value) <= _INT_MAX:
        return f"use a whole number, not {value!r}"
    if parameter.min_value is not None and int(value) < parameter.min_value:
        return f"use at least {parameter.min_value}, not {value}"
    if parameter.max_value is not None and int(value) > parameter.max_value:
        return f"use at most {parameter.max_value}, not {value}"
    return None
