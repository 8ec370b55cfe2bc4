"""Arguments: layers are put one after the other with a blank between, or replace what was there."""

from __future__ import annotations

import shlex

from manman.domain.configuration.strategies import Unreadable


def overlay(text: str, layer: str, layer_format: str) -> str:
    """Return the arguments with a layer."""
    if layer_format == "replace":
        return layer.strip()
    return " ".join(part for part in (text.strip(), layer.strip()) if part)


def split(text: str) -> list[str]:
    """Return the arguments as a shell would split them; raise `Unreadable` for a quote that does not end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Unreadable(f"cannot be split like a shell does: {str(error).lower()}") from error
