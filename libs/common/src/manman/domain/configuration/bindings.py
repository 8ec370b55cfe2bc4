"""Bindings: a parameter's value put at a place of a strategy's target, as a layer of its own.

direct       target_key is the key (properties, environment, top level of JSON, YAML and TOML), or the argument
template     the same, with value_template rendered: {{key}}, {{value}} and every parameter
json_path    $.a.b of JSON, YAML and TOML; numbers and truth values by the parameter's type
xpath        an expression of XML
ini_section  [Section]/Key of INI
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from manman.domain.configuration.strategies import Unreadable
from manman.domain.rendering import render_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DOCUMENTS = ("file_json", "file_yaml", "file_toml")
_KINDS = {
    "json_path": _DOCUMENTS,
    "xpath": ("file_xml",),
    "ini_section": ("file_ini",),
    "direct": ("cli_args", "env_vars", "file_properties", "file_ini", "file_xml", *_DOCUMENTS),
    "template": ("cli_args", "env_vars", "file_properties", "file_ini", "file_xml", *_DOCUMENTS),
}
_JSON_PATH = re.compile(r"\$((?:\.[^.\[\]]+)+)")
_INI_PLACE = re.compile(r"\[(?P<section>[^\r\n]*)\]/(?P<key>[^=\r\n]+)")
_CONDITION = re.compile(r"only_if:(?P<key>[A-Za-z0-9_]+)=(?P<value>.*)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Where a parameter goes. `condition` "" means always, else `only_if:key=value`."""

    parameter: str
    kind: str
    target_key: str
    parameter_type: str = "string"
    value_template: str = ""
    condition: str = ""


def bind(
    strategy_type: str, bindings: Sequence[Binding], level: Mapping[str, str], values: Mapping[str, str]
) -> tuple[str, str]:
    """Return the layer (text, format) that the values set at one level make; the text is "" when none is bound.

    `values` are the merged parameters, for templates and conditions. Raises `Unreadable`, naming the parameter.
    """
    placed = []
    for binding in bindings:
        if binding.parameter not in level or not _applies(binding, values):
            continue
        if strategy_type not in _KINDS[binding.kind]:
            raise Unreadable(f"parameter {binding.parameter}: a {strategy_type} strategy has no {binding.kind} binding")
        placed.append((binding, _value(binding, level[binding.parameter], values)))
    if not placed:
        return "", "template"
    return _layer(strategy_type, placed)


def _layer(strategy_type: str, placed: Sequence[tuple[Binding, str]]) -> tuple[str, str]:
    if strategy_type in ("env_vars", "file_properties"):
        changes = {binding.target_key: value for binding, value in placed}
        return json.dumps(changes, ensure_ascii=False), "json_merge_patch"
    if strategy_type in _DOCUMENTS:
        document: dict[str, Any] = {}
        for binding, value in placed:
            _put(document, binding, value)
        return json.dumps(document, ensure_ascii=False), "json_merge_patch"
    write = {"cli_args": _argument, "file_ini": _ini_line, "file_xml": _xpath_line}[strategy_type]
    separator = " " if strategy_type == "cli_args" else "\n"
    text_format = {"file_ini": "ini", "file_xml": "xpath"}.get(strategy_type, "template")
    # keys without a section come first, or they would fall into the section before them
    lines = sorted((write(binding, value) for binding, value in placed), key=lambda line: line.startswith("["))
    return separator.join(lines), text_format


def _applies(binding: Binding, values: Mapping[str, str]) -> bool:
    if not binding.condition:
        return True
    condition = _CONDITION.fullmatch(binding.condition)
    if condition is None:
        raise Unreadable(
            f"parameter {binding.parameter}: the condition is only_if:key=value, not {binding.condition!r}"
        )
    return values.get(condition["key"]) == condition["value"]


def _value(binding: Binding, value: str, values: Mapping[str, str]) -> str:
    if binding.kind != "template":
        return value
    return render_text(binding.value_template, {**values, "key": binding.parameter, "value": value})


def _put(document: dict[str, Any], binding: Binding, value: str) -> None:
    path = [binding.target_key]
    if binding.kind == "json_path":
        match = _JSON_PATH.fullmatch(binding.target_key)
        if match is None:
            raise Unreadable(f"parameter {binding.parameter}: the path is $.a.b, not {binding.target_key!r}")
        path = match[1][1:].split(".")
    for step in path[:-1]:
        document = document.setdefault(step, {})
        if not isinstance(document, dict):
            raise Unreadable(f"parameter {binding.parameter}: {binding.target_key} leads through another's value")
    document[path[-1]] = value if binding.kind == "template" else _typed(binding.parameter_type, value)


def _typed(parameter_type: str, value: str) -> str | int | bool:
    if parameter_type == "int" and value:
        return int(value)
    if parameter_type == "bool" and value:
        return value.lower() in ("1", "t", "true")
    return value


def _argument(binding: Binding, value: str) -> str:
    separator = "" if binding.target_key.endswith("=") else " "
    return f"{binding.target_key}{separator}{shlex.quote(value)}".strip()


def _ini_line(binding: Binding, value: str) -> str:
    _one_line(binding, value)
    if binding.kind != "ini_section":
        return f"{binding.target_key}={value}"
    place = _INI_PLACE.fullmatch(binding.target_key)
    if place is None:
        raise Unreadable(f"parameter {binding.parameter}: the place is [Section]/Key, not {binding.target_key!r}")
    return f"[{place['section']}]\n{place['key']}={value}"


def _xpath_line(binding: Binding, value: str) -> str:
    _one_line(binding, value)
    return f"{binding.target_key}={value}"


def _one_line(binding: Binding, value: str) -> None:
    if "\n" in value or "\r" in value:
        raise Unreadable(f"parameter {binding.parameter}: its value has several lines, and a line is its place")
