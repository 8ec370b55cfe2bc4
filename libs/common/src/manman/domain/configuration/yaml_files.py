"""YAML files: order, comments, quotes and anchors are kept.

A part that is shared through an alias is copied before it is changed, so that a patch changes what it names and nothing
else. Texts that older readers would take for something else (yes, off, 1:30) are written in quotes.
"""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable, MutableMapping, MutableSequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from manman.domain.configuration.merging import json_patch, merge_patch, read_json
from manman.domain.configuration.strategies import Options, Unreadable

MAX_NODES = 50_000
"""Of a document with its aliases written out: more is an attack or a mistake."""

_AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off)|[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?|0o?\d+")
_DASH = re.compile(r"^( *)- ")
_KEY = re.compile(r"^( *)[^\s#-][^#]*:\s*(#.*)?$")


def overlay(text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay a YAML text (`template`, `yaml_merge`), a JSON merge patch or a JSON patch over a YAML text."""
    document = read(text)
    in_json = layer_format in ("json_merge_patch", "json_patch")
    change = _quoted(read_json(layer)) if in_json else read(layer)
    if change is None or (document is None and not change):
        return text
    shared = _shared(document)
    _shared(change)
    if layer_format == "json_patch":
        if shared:
            raise Unreadable("cannot be applied: the document has aliases; use yaml_merge")
        document, changed = json_patch({} if document is None else document, change)
    else:
        document, changed = merge_patch(document, change, options, _own(shared))
    if not changed:
        return text
    return _written(document, text, options)


def read(text: str) -> Any:  # noqa: ANN401 - any YAML value
    """Parse one YAML document; raise `Unreadable`. A text without a value is None."""
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.composer.warn_double_anchors = False  # an anchor may be given again; the last one before an alias counts
    try:
        return yaml.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"is not YAML: {str(error).splitlines()[0]}{_where(error)}") from error


def _written(document: Any, before: str, options: Options) -> str:  # noqa: ANN401 - any YAML value
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1_000_000
    offset = _dash_offset(before)
    yaml.indent(mapping=options.indent, sequence=offset + 2, offset=offset)
    yaml.explicit_start = any(line.startswith("---") for line in before.splitlines())
    stream = io.StringIO()
    try:
        yaml.dump(document, stream)
    except (YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"does not give YAML: {error}") from error
    result = stream.getvalue()
    only_comments = before.strip() and read(before) is None
    if only_comments:
        comments = before if before.endswith("\n") else f"{before}\n"
        return comments + result.removeprefix("---\n")
    return result


def _own(shared: set[int]) -> Callable[[Any], Any]:
    def own(child: Any) -> Any:  # noqa: ANN401 - any YAML value
        if id(child) not in shared:
            return child
        mine = copy.deepcopy(child)
        if hasattr(mine, "yaml_set_anchor"):
            mine.yaml_set_anchor(None)
        return mine

    return own


def _shared(document: Any) -> set[int]:  # noqa: ANN401 - any YAML value
    """Return the ids of the parts that stand in more than one place; raise `Unreadable` for too many."""
    sizes: dict[int, int] = {}
    shared: set[int] = set()

    def size(part: Any) -> int:  # noqa: ANN401 - any YAML value
        if not isinstance(part, MutableMapping | MutableSequence):
            return 1
        if id(part) in sizes:
            shared.add(id(part))
            return sizes[id(part)]
        children = part.values() if isinstance(part, MutableMapping) else part
        total = 1 + sum(size(child) for child in children)
        sizes[id(part)] = total
        if total > MAX_NODES:
            raise Unreadable(f"has more than {MAX_NODES} values with its aliases written out")
        return total

    size(document)
    return shared


def _quoted(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _quoted(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_quoted(child) for child in value]
    if isinstance(value, str) and _AMBIGUOUS.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value


def _dash_offset(text: str) -> int:
    """Return how far the text indents the dashes of a list below its key."""
    above: int | None = None
    for line in text.splitlines():
        dash = _DASH.match(line)
        if dash and above is not None:
            return max(0, min(8, len(dash[1]) - above))
        key = _KEY.match(line)
        if line.strip() and not line.lstrip().startswith("#"):
            above = len(key[1]) if key else None
    return 0


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark is not None else ""
