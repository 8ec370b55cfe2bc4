"""The terminal: numbered steps with their times, plain when nobody watches.

Colours appear on a terminal only (never with NO_COLOR set), and characters outside ASCII only where the terminal can
show them.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_STATUS_COLOURS = {
    "running": _GREEN,
    "online": _GREEN,
    "crashed": _RED,
    "lost": _RED,
    "stopped": _CYAN,
    "pending": _YELLOW,
    "starting": _YELLOW,
    "stopping": _YELLOW,
}
_WIDTH = 100
_LABEL_WIDTH = 12


class Screen:
    """Writes to `out`. `clock` counts from the screen's creation."""

    def __init__(self, out: TextIO, *, colours: bool) -> None:
        """Choose the characters that `out` can show."""
        self._out = out
        self._colours = colours
        self._began = time.monotonic()
        self._steps = 0
        fancy = (out.encoding or "").lower().startswith("utf")
        self._done, self._bar, self._rule = ("✓", "│", "─") if fancy else ("ok", "|", "-")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the screen was made."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        """Open the show."""
        self._write(self._paint(text, _BOLD))
        self._write(self._paint(self._rule * min(_WIDTH, len(text)), _DIM))

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Open a numbered step; when its block ends well, say how long it took."""
        self._steps += 1
        began = time.monotonic()
        self._write(f"\n{self._paint(f'{self._steps:2}', _CYAN)}  {self._paint(title, _BOLD)}")
        yield
        took = f"{time.monotonic() - began:.1f} s"
        self._write(f"    {self._paint(self._done, _GREEN)} {self._paint(took, _DIM)}")

    def say(self, label: str, text: str) -> None:
        """Write one fact of the current step."""
        self._write(f"    {self._paint(label.ljust(_LABEL_WIDTH), _DIM)} {text}")

    def status(self, status: str, rest: str = "") -> None:
        """Write a session's state, in the colour of its kind, with the seconds since the demo began."""
        when = self._paint(f"{self.elapsed_s:6.1f} s", _DIM)
        self._write(
            f"    {when}     {self._paint(status.ljust(9), _STATUS_COLOURS.get(status, _BOLD))} {rest}".rstrip()
        )

    def quote(self, text: str) -> None:
        """Write one line that the game wrote."""
        shown = text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
        self._write(self._paint(f"      {self._bar} {shown}", _DIM))

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Write rows in columns; the first row is the heading."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self._write("    " + (self._paint(line, _DIM) if number == 0 else line))

    def close(self, lines: Sequence[tuple[str, str]]) -> None:
        """End well: how long it took, then where to go on."""
        self._write(f"\n{self._paint(f'Everything is as it should be, {self.elapsed_s:.1f} s.', _GREEN)}\n")
        width = max(len(label) for label, _ in lines)
        for label, text in lines:
            self._write(f"  {self._paint(label.ljust(width), _DIM)}  {text}")

    def fail(self, expected: str, details: Sequence[str]) -> None:
        """End badly: what was expected, then everything that helps."""
        self._write(f"\n{self._paint(f'FAILED after {self.elapsed_s:.1f} s: {expected}', _RED)}")
        for line in details:
            self._write(f"  {line}")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()
