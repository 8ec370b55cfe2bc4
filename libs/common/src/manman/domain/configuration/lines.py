"""Texts made of lines: their endings survive."""

from __future__ import annotations

import dataclasses


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
