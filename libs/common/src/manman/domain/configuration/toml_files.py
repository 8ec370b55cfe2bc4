"""TOML files: order, comments and spelling are kept."""

from __future__ import annotations

import tomlkit
from tomlkit.exceptions import TOMLKitError

from manman.domain.configuration.merging import json_patch, merge_patch, read_json
from manman.domain.configuration.strategies import Options, Unreadable


def overlay(text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay a TOML text, a JSON merge patch or a JSON patch over a TOML text."""
    document = read(text)
    change = read(layer) if layer_format == "template" else read_json(layer)
    try:
        if layer_format == "json_patch":
            result, changed = json_patch(document, change)
        else:
            result, changed = merge_patch(document, change, options)
        if not isinstance(result, dict):
            raise Unreadable("replaces the whole file with something that is no table")
        return tomlkit.dumps(result) if changed else text
    except (TOMLKitError, ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"does not give TOML: {error}") from error


def read(text: str) -> tomlkit.TOMLDocument:
    """Parse TOML; raise `Unreadable`."""
    try:
        return tomlkit.parse(text)
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise Unreadable(f"is not TOML: {error}") from error
