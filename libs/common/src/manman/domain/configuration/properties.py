"""Java properties: `key=value` lines, the separator is the first `=` or `:`; `#` and `!` begin comments.

A backslash at the end of a line continues it, elsewhere it begins an escape as in Java. A key that is there keeps its
place; of repeated keys the last is replaced. New keys come at the end.
"""

from __future__ import annotations

import json
import re

from manman.domain.configuration.lines import Block, Lines, put_together
from manman.domain.configuration.strategies import Options, Unreadable

_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_WRITTEN = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f"}


def overlay(text: str, layer: str, layer_format: str, options: Options) -> str:
    """Lay `key=value` lines, or a flat JSON merge patch, over a properties text.

    With `options.append` a key that is there already gets a further line after it.
    """
    changes = _from_json(layer) if layer_format == "json_merge_patch" else _from_lines(layer)
    if not changes:
        return text
    page = Lines.of(text)
    blocks = _blocks(page.lines)
    held: dict[str, list[Block]] = {}
    for block in blocks:
        if block.key:
            held.setdefault(block.key, []).append(block)
    for key, value in changes:
        _put(blocks, held, key, value, append=options.append)
    page.lines = list(put_together(blocks))
    return page.text()


def _put(blocks: list[Block], held: dict[str, list[Block]], key: str, value: str | None, *, append: bool) -> None:
    same = held.get(key, [])
    if value is None:
        for block in held.pop(key, []):
            block.remove()
    elif same and not append:
        last = same[-1]
        if last.value != value:
            last.lines, last.value = (last.head + value).split("\n"), value
    else:
        head = f"{escape(key, key=True)}="
        new = Block((head + value).split("\n"), key=key, head=head, value=value)
        (same[-1].repeats if same else blocks).append(new)
        held.setdefault(key, []).append(new)


def _blocks(lines: list[str]) -> list[Block]:
    """Take lines apart; those without a separator, blank ones and comments are no entries."""
    found = []
    index = 0
    while index < len(lines):
        start = index
        while _is_continued(lines[index], first=index == start) and index + 1 < len(lines):
            index += 1
        index += 1
        block = Block(lines[start:index], start + 1)
        whole = "\n".join(block.lines)
        position = -1 if _is_comment(whole) else _separator(whole)
        if position >= 0:
            value = whole[position + 1 :].lstrip(" \t\f")
            block.key, block.value = unescape(whole[:position].strip()), value
            block.head = whole[: len(whole) - len(value)]
        found.append(block)
    return found


def _separator(line: str) -> int:
    """Return where the first `=` or `:` is that no backslash stands before; -1 for none."""
    escaped = False
    for position, character in enumerate(line):
        if not escaped and character in "=:":
            return position
        escaped = character == "\\" and not escaped
    return -1


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


def _from_lines(layer: str) -> list[tuple[str, str | None]]:
    blocks = _blocks(Lines.of(layer).lines)
    for block in blocks:
        if not block.key and block.lines[0].strip() and not _is_comment(block.lines[0]):
            raise Unreadable(f"line {block.number} is not key=value")
    return [(block.key, block.value.rstrip()) for block in blocks if block.key and block.value is not None]


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
