"""Java properties: `key=value` lines, the separator is the first `=` or `:`; `#` and `!` begin comments.

A backslash at the end of a line continues it, elsewhere it begins an escape as in Java. A key that is there keeps its
place; of repeated keys the last is replaced. New keys come at the end.
"""

from __future__ import annotations

import dataclasses
import json
import re

from manman.domain.configuration.lines import Lines
from manman.domain.configuration.strategies import Options, Unreadable

_ENTRY = re.compile(r"(?P<key>(?:\\.|[^\\=:])*?)(?P<separator>[ \t\f]*[=:][ \t\f]*)(?P<value>.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_WRITTEN = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f"}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value as written, at `lines[start:end]`; `head` is everything before the value."""

    key: str
    head: str
    value: str
    start: int
    end: int


def overlay(text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay `key=value` lines, or a flat JSON merge patch, over a properties text.

    With `options.append` a key that is there already gets a further line after it.
    """
    changes = _from_json(layer) if layer_format == "json_merge_patch" else _from_lines(layer)
    page = Lines.of(text)
    for key, value in changes:
        _put(page, key, value, append=options.append)
    return page.text() if changes else text


def entries(lines: list[str]) -> list[Entry]:
    """Find the entries; lines without a separator, blank ones and comments are none."""
    found = []
    index = 0
    while index < len(lines):
        start = index
        while _is_continued(lines[index], first=index == start) and index + 1 < len(lines):
            index += 1
        index += 1
        whole = lines[start] + "".join("\n" + line for line in lines[start + 1 : index])
        match = None if _is_comment(lines[start]) else _ENTRY.fullmatch(whole)
        if match:
            key = unescape(match["key"].strip())
            found.append(Entry(key, match["key"] + match["separator"], match["value"], start, index))
    return found


def unescape(text: str) -> str:
    """Return what a key or value means."""

    def meant(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _NAMED.get(code, code)

    return _ESCAPE.sub(meant, text)


def escape(text: str, *, key: bool = False) -> str:
    """Write a key or value so that it means `text`."""
    written = "".join(_WRITTEN.get(character, character) for character in text)
    if key:
        return re.sub(r"([=: ])|^([#!])", lambda match: "\\" + match[0], written)
    return "\\" + written if written.startswith(" ") else written


def _put(page: Lines, key: str, value: str | None, *, append: bool) -> None:
    held = [entry for entry in entries(page.lines) if entry.key == key]
    if value is None:
        for entry in reversed(held):
            del page.lines[entry.start : entry.end]
    elif held and not append:
        last = held[-1]
        if last.value != value:
            page.lines[last.start : last.end] = (last.head + value).split("\n")
    else:
        new = f"{escape(key, key=True)}={value}".split("\n")
        position = held[-1].end if held else len(page.lines)
        page.lines[position:position] = new


def _from_lines(layer: str) -> list[tuple[str, str | None]]:
    lines = Lines.of(layer).lines
    found = entries(lines)
    covered = {index for entry in found for index in range(entry.start, entry.end)}
    for index, line in enumerate(lines):
        if index not in covered and line.strip() and not _is_comment(line):
            raise Unreadable(f"line {index + 1} is not key=value: {line.strip()[:60]!r}")
    return [(entry.key, entry.value.rstrip()) for entry in found]


def _from_json(layer: str) -> list[tuple[str, str | None]]:
    return [(key, None if value is None else escape(value)) for key, value in flat_json(layer).items()]


def flat_json(layer: str) -> dict[str, str | None]:
    """Read a JSON object of plain values as texts; null stays. Raises `Unreadable`."""
    try:
        document = json.loads(layer) if layer.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Unreadable("is not a JSON object")
    return {key: _plain(key, value) for key, value in document.items()}


def _plain(key: str, value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise Unreadable(f"{key}: use a text, number, true, false or null")
    return None if value is None else str(value)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "!"))


def _is_continued(line: str, *, first: bool) -> bool:
    if first and (_is_comment(line) or not line.strip()):
        return False
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
