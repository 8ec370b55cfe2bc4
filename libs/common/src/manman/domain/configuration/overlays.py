"""Which module lays a layer over a text of a strategy type, and whether a text can be read at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manman.domain.configuration import (
    cli_args,
    env_vars,
    ini,
    json_files,
    properties,
    toml_files,
    xml_files,
    yaml_files,
)
from manman.domain.configuration.merging import check_operations, read_json
from manman.domain.configuration.strategies import Options, Unreadable
from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Overlay = Callable[[str, str, str, Options], str]

_PLACEHOLDER = re.compile(r"\{\{[A-Za-z0-9_]+\}\}")


def _replace_text(text: str, layer: str, layer_format: str, options: Options) -> str:  # noqa: ARG001 - one shape for all
    return layer


_OVERLAYS: Mapping[str, Overlay] = {
    "cli_args": lambda text, layer, layer_format, _: cli_args.overlay(text, layer, layer_format),
    "file_properties": properties.overlay,
    "file_json": json_files.overlay,
    "file_yaml": yaml_files.overlay,
    "file_toml": toml_files.overlay,
    "file_ini": lambda text, layer, _, options: ini.overlay(text, layer, options),
    "file_xml": lambda text, layer, _, __: xml_files.overlay(text, layer),
    "file_lua": _replace_text,
    "file_custom": _replace_text,
}


def overlay(strategy_type: str, text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay a layer over a text of this type; a blank layer changes nothing. Raises `Unreadable`.

    The environment is no text: `env_vars.overlay` is for it.
    """
    if not layer.strip() and layer_format != "replace":
        return text
    try:
        return _OVERLAYS[strategy_type](text, layer, layer_format, options)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error


def check_text(strategy_type: str, text: str) -> None:
    """Raise `Unreadable` unless a text of this type can be read."""
    if not text.strip():
        return
    if strategy_type == "cli_args":
        cli_args.split(text)
    elif strategy_type == "env_vars":
        env_vars.overlay({}, text, "template")
    elif strategy_type == "file_json":
        read_json(text)
    elif strategy_type == "file_yaml":
        yaml_files.overlay(text, "{}", "template", Options())
    elif strategy_type == "file_toml":
        toml_files.read(text)
    elif strategy_type == "file_xml":
        xml_files.read(text)


def check_base(strategy_type: str, base: str) -> list[Problem]:
    """Return what is wrong with a base that is to be saved; every placeholder is taken for the number 1."""
    return _problems("base_template", lambda: check_text(strategy_type, _filled(base)))


def check_patch(strategy_type: str, content: str, patch_format: str) -> list[Problem]:
    """Return what is wrong with a patch that is to be saved; every placeholder is taken for the number 1."""
    text = _filled(content)
    if not text.strip():
        return []
    return _problems("patch_content", lambda: _check_layer(strategy_type, text, patch_format))


def _check_layer(strategy_type: str, text: str, patch_format: str) -> None:
    if patch_format == "json_patch":
        check_operations(read_json(text))
    elif strategy_type == "env_vars":
        env_vars.overlay({}, text, patch_format)
    elif strategy_type == "file_xml" and not text.lstrip().startswith("<"):
        xml_files.lines(text)
    elif strategy_type == "cli_args":
        cli_args.split(text)
    else:
        overlay(strategy_type, "", text, patch_format, Options())


def _filled(text: str) -> str:
    return _PLACEHOLDER.sub("1", text)


def _problems(field: str, check: Callable[[], None]) -> list[Problem]:
    try:
        check()
    except Unreadable as refused:
        return [Problem(field, str(refused))]
    return []
