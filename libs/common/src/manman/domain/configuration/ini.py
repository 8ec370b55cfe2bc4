"""INI: sections of `key=value` lines, `;` and `#` begin comments. Case, order, comments and repeated keys are kept.

Of repeated keys the last of its section is replaced. New keys come at the end of their section, new sections at the
end. Keys before the first section belong to the section "".
"""

from __future__ import annotations

import dataclasses
import re

from manman.domain.configuration.lines import Lines
from manman.domain.configuration.strategies import Options, Unreadable

_SECTION = re.compile(r"\s*\[(?P<name>[^\r\n]*)\]\s*(?:[;#].*)?")
_EQUALS = re.compile(r"(?P<key>\s*[^=]*?)(?P<separator>\s*=\s*)(?P<value>.*)")
_COLON = re.compile(r"(?P<key>\s*[^:=]*?)(?P<separator>\s*:\s*)(?P<value>.*)")


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A key in its section; `head` is everything before the value, `value` None for a bare key."""

    section: str
    key: str
    head: str
    value: str | None
    index: int


def overlay(text: str, layer: str, options: Options) -> str:
    """Lay an INI text over another.

    With `options.append` a key that is there already gets a further line after it.
    """
    page = Lines.of(text)
    wanted, sections = _entries(Lines.of(layer).lines)
    problem = next((entry for entry in wanted if not entry.key), None)
    if problem is not None:
        raise Unreadable(f"line {problem.index + 1} has no key before its =")
    for section in sections:
        if section not in _entries(page.lines)[1]:
            _add_section(page, section)
    for entry in wanted:
        _put(page, entry, append=options.append)
    return page.text() if wanted or sections else text


def _put(page: Lines, wanted: Entry, *, append: bool) -> None:
    found, sections = _entries(page.lines)
    held = [entry for entry in found if (entry.section, entry.key) == (wanted.section, wanted.key)]
    if held and not append:
        last = held[-1]
        if last.value != wanted.value:
            separated = last.value is not None and wanted.value is not None
            page.lines[last.index] = last.head + (wanted.value or "") if separated else _written(wanted)
        return
    position = held[-1].index + 1 if held else _end_of(page.lines, sections.get(wanted.section))
    page.lines.insert(position, _written(wanted))


def _written(entry: Entry) -> str:
    return entry.key if entry.value is None else f"{entry.key}={entry.value}"


def _add_section(page: Lines, section: str) -> None:
    if page.lines and page.lines[-1].strip():
        page.lines.append("")
    page.lines.append(f"[{section}]")


def _end_of(lines: list[str], header: int | None) -> int:
    """Return where a section's new key goes: after its last line that is not blank."""
    start = -1 if header is None else header
    end = start + 1
    for index in range(start + 1, len(lines)):
        if _SECTION.fullmatch(lines[index]):
            break
        if lines[index].strip():
            end = index + 1
    return end


def _entries(lines: list[str]) -> tuple[list[Entry], dict[str, int]]:
    """Return the keys, and the line of each section's last header."""
    section = ""
    found: list[Entry] = []
    sections: dict[str, int] = {}
    for index, line in enumerate(lines):
        header = _SECTION.fullmatch(line)
        if header:
            section = header["name"]
            sections[section] = index
        elif line.strip() and not line.lstrip().startswith((";", "#")):
            match = _EQUALS.fullmatch(line) or _COLON.fullmatch(line)
            if match:
                head = match["key"] + match["separator"]
                found.append(Entry(section, match["key"].strip(), head, match["value"].rstrip(), index))
            else:
                found.append(Entry(section, line.strip(), line, None, index))
    return found, sections
