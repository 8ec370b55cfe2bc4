"""JSON files: order is kept, an unchanged document is kept as written."""

from __future__ import annotations

import json
from typing import Any

from manman.domain.configuration.merging import json_patch, merge_patch, read_json
from manman.domain.configuration.strategies import Options, Unreadable


def overlay(text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay a JSON merge patch (also for `template`) or a JSON patch over a JSON text; no text counts as `{}`."""
    document = read_json(text) if text.strip() else {}
    change = read_json(layer)
    if layer_format == "json_patch":
        document, changed = json_patch(document, change)
    else:
        document, changed = merge_patch(document, change, options)
    return _written(document, text, options) if changed else text


def _written(document: Any, before: str, options: Options) -> str:  # noqa: ANN401 - any JSON value
    try:
        text = json.dumps(document, indent=options.indent, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"holds a number or depth that JSON cannot have: {error}") from error
    return text + ("\n" if before.endswith("\n") else "")
