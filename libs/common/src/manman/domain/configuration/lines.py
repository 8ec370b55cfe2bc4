"""Texts made of lines: their endings survive, and so does every line that nothing was done to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclasses.dataclass(slots=True)
class Lines:
    """The lines of a text without their endings, the ending in use, and whether the last line had one."""

    lines: list[str]
    ending: str = "\n"
    closed: bool = False

    @classmethod
    def of(cls, text: str) -> Lines:
        """Take a text apart. Only LF and CRLF end a line."""
        ending = "\r\n" if "\r\n" in text else "\n"
        lines = text.split("\n")
        closed = lines[-1] == ""
        if closed:
            lines.pop()
        return cls([line.removesuffix("\r") for line in lines], ending, closed and bool(lines))

    def text(self) -> str:
        """Put it together again."""
        return self.ending.join(self.lines) + (self.ending if self.closed else "")


@dataclasses.dataclass(slots=True, eq=False)
class Block:
    """One or more lines that belong together: an entry with its `head` (all before the value) and value, or anything.

    `repeats` are further entries of the same key, `additions` new entries of the section that ends here.
    """

    lines: list[str]
    number: int = 0
    section: str = ""
    key: str = ""
    head: str = ""
    value: str | None = None
    repeats: list[Block] = dataclasses.field(default_factory=list)
    additions: list[Block] = dataclasses.field(default_factory=list)

    def remove(self) -> None:
        """Take its own lines out; what was put after it stays."""
        self.lines = []


def put_together(blocks: Iterable[Block]) -> Iterator[str]:
    """Return the lines of blocks and of what was put after them."""
    for block in blocks:
        yield from block.lines
        yield from put_together(block.repeats)
        yield from put_together(block.additions)
