"""INI: sections of `key=value` lines, `;` and `#` begin comments. Case, order, comments and repeated keys are kept.

Of repeated keys the last of its section is replaced. New keys come at the end of their section, new sections at the
end. Keys before the first section belong to the section "".
"""

from __future__ import annotations

import re

from manman.domain.configuration.lines import Block, Lines, put_together
from manman.domain.configuration.strategies import Options, Unreadable

_SECTION = re.compile(r"\s*\[(?P<name>[^\]\r\n]*)\]\s*(?:[;#].*)?")


def overlay(text: str, layer: str, options: Options) -> str:
    """Lay an INI text over another.

    With `options.append` a key that is there already gets a further line after it.
    """
    wanted, wanted_ends = _blocks(Lines.of(layer).lines)
    problem = next((block for block in wanted if not block.key and block.value is not None), None)
    if problem is not None:
        raise Unreadable(f"line {problem.number} has no key before its =")
    entries = [block for block in wanted if block.key]
    if not entries and wanted_ends.keys() <= {""}:
        return text
    page = Lines.of(text)
    blocks, ends = _blocks(page.lines)
    top = Block([])
    held: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        if block.key:
            held.setdefault((block.section, block.key), []).append(block)
    for section in wanted_ends:
        if section not in ends:
            ends[section] = _add_section(blocks, section) if section else top
    for entry in entries:
        _put(held, ends, entry, append=options.append)
    page.lines = list(put_together([top, *blocks]))
    return page.text()


def _put(held: dict[tuple[str, str], list[Block]], ends: dict[str, Block], wanted: Block, *, append: bool) -> None:
    same = held.get((wanted.section, wanted.key), [])
    if same and not append:
        last = same[-1]
        if last.value != wanted.value:
            separated = last.value is not None and wanted.value is not None
            last.lines = [last.head + (wanted.value or "") if separated else _written(wanted)]
            last.value = wanted.value
        return
    new = Block([_written(wanted)], section=wanted.section, key=wanted.key, head=f"{wanted.key}=", value=wanted.value)
    (same[-1].repeats if same else ends[wanted.section].additions).append(new)
    held.setdefault((wanted.section, wanted.key), []).append(new)


def _written(entry: Block) -> str:
    return entry.key if entry.value is None else f"{entry.key}={entry.value}"


def _add_section(blocks: list[Block], section: str) -> Block:
    last = list(put_together(blocks[-1:]))
    lines = [""] if last and last[-1].strip() else []
    blocks.append(Block([*lines, f"[{section}]"]))
    return blocks[-1]


def _blocks(lines: list[str]) -> tuple[list[Block], dict[str, Block]]:
    """Take lines apart; also return the last line that is not blank of each section's last part."""
    section = ""
    found: list[Block] = []
    ends: dict[str, Block] = {}
    for number, line in enumerate(lines, start=1):
        block = Block([line], number, section)
        found.append(block)
        header = _SECTION.fullmatch(line)
        if header:
            section = block.section = header["name"]
        elif line.strip() and not line.lstrip().startswith((";", "#")):
            _read_entry(block, line)
        if line.strip():
            ends[section] = block
    return found, ends


def _read_entry(block: Block, line: str) -> None:
    position = line.find("=") if "=" in line else line.find(":")
    if position < 0:
        block.key, block.head = line.strip(), line
        return
    value = line[position + 1 :].lstrip()
    block.key, block.value = line[:position].strip(), value.rstrip()
    block.head = line[: len(line) - len(value)]
