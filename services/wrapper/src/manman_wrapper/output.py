"""A game's output as numbered lines: pure values, no engine, no clock.

    frames of the engine's log --LineAssembler--> entries (one whole line with the engine's time stamp)
        --Numbering--> lines (UTF-8, at most 32 KiB, numbered from 1, floods cut) --> Tail (the last of them)

The same log read twice gives the same numbers, because splitting and cutting look only at the bytes and at the
engine's own time stamps. That is what lets a restarted wrapper go on where it was.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 32 * 1024
MAX_ENTRY_BYTES = 1024 * 1024
"""A game that writes no newline must not fill our memory: behind that much its line is cut."""
HEADER_BYTES = 8
STAMP_BYTES = 30
STDOUT, STDERR = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One line as the game wrote it, `stamp` being the engine's RFC 3339 time with nine decimals.

    `cut`: it was too long for us, the rest is the next entry.
    """

    stamp: str
    stream: int
    text: bytes
    cut: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One numbered line. `truncated`: it goes on in the next. `skipped` > 0: it stands for lines that were dropped."""

    seq: int
    timestamp_ms: int
    is_stderr: bool
    data: bytes
    truncated: bool = False
    skipped: int = 0


class Position(msgspec.Struct, frozen=True):
    """The first line of some second: where numbering can start again. `seq` is that line's number."""

    seq: int
    stamp: str
    stream: int


class LineAssembler:
    """Turns the engine's log into entries. The engine cuts long lines into parts with one and the same stamp."""

    def __init__(self, *, tty: bool) -> None:
        """Read the one raw stream of a container with a terminal, or else frames that name their stream."""
        self._tty = tty
        self._buffer = bytearray()
        self._parts: dict[int, tuple[str, bytearray]] = {}

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """Take the next bytes and yield the lines that they complete."""
        self._buffer += piece
        for stream, frame in self._raw_lines() if self._tty else self._frames():
            yield from self._join(stream, frame)

    def rest(self) -> Iterator[Entry]:
        """Yield what is left when the log has ended without a newline."""
        for stream, (stamp, text) in sorted(self._parts.items()):
            yield Entry(stamp, stream, bytes(text))
        self._parts.clear()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._buffer[4:8], "big")
            if len(self._buffer) < end:
                return
            yield self._buffer[0] or STDOUT, bytes(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]

    def _raw_lines(self) -> Iterator[tuple[int, bytes]]:
        while (end := self._buffer.find(b"\n") + 1) > 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[:end]
            stamp = frame[: STAMP_BYTES + 1]
            yield STDOUT, stamp + frame[STAMP_BYTES + 1 :].replace(stamp, b"")
        if len(self._buffer) > 2 * MAX_LINE_BYTES:
            stamp = bytes(self._buffer[: STAMP_BYTES + 1])
            part = self._buffer.rfind(stamp)  # the engine's last part stays: it may be incomplete
            if part > 0:
                frame = bytes(self._buffer[STAMP_BYTES + 1 : part])
                del self._buffer[:part]
                yield STDOUT, stamp + frame.replace(stamp, b"")

    def _join(self, stream: int, frame: bytes) -> Iterator[Entry]:
        stamp, text = frame[:STAMP_BYTES].decode("ascii", "replace"), frame[STAMP_BYTES + 1 :]
        first, parts = self._parts.setdefault(stream, (stamp, bytearray()))
        parts += text
        if text.endswith(b"\n"):
            del self._parts[stream]
            yield Entry(first, stream, bytes(parts).rstrip(b"\r\n"))
        elif len(parts) >= MAX_ENTRY_BYTES:
            del self._parts[stream]
            yield Entry(first, stream, bytes(parts), cut=True)


class Numbering:
    """Gives numbers, splits long lines, and cuts floods: at most `per_second` lines for each second of the stamps."""

    def __init__(self, per_second: int, *, next_seq: int = 1) -> None:
        """Start a fresh second with `next_seq` as the next number."""
        self._per_second = per_second
        self.next_seq = next_seq
        self._second = ""
        self._in_second = 0
        self._dropped = 0
        self._last_stamp = ""

    def number(self, entry: Entry) -> tuple[list[Line], Position | None]:
        """Return the lines that `entry` becomes, and its position if it is the first of its second."""
        lines: list[Line] = []
        position = None
        if entry.stamp[:19] != self._second:
            lines += self.close_second()
            self._second = entry.stamp[:19]
            self._in_second = 0
            position = Position(self.next_seq, entry.stamp, entry.stream)
        self._last_stamp = entry.stamp
        self._in_second += 1
        if self._in_second > self._per_second:
            self._dropped += 1
        else:
            lines += self._split(entry)
        return lines, position

    def close_second(self) -> list[Line]:
        """Return the line that says what was dropped, if anything was. Call it when nothing more is coming."""
        if not self._dropped:
            return []
        text = f"[manman] {self._dropped} lines dropped: more than {self._per_second} lines in one second"
        line = Line(
            self._take(), stamp_ms(self._last_stamp), is_stderr=False, data=text.encode(), skipped=self._dropped
        )
        self._dropped = 0
        return [line]

    def _split(self, entry: Entry) -> Iterator[Line]:
        data = entry.text.decode("utf-8", "replace").encode()
        millis = stamp_ms(entry.stamp)
        while len(data) > MAX_LINE_BYTES:
            cut = MAX_LINE_BYTES
            while data[cut] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
                cut -= 1
            yield Line(self._take(), millis, entry.stream == STDERR, data[:cut], truncated=True)
            data = data[cut:]
        yield Line(self._take(), millis, entry.stream == STDERR, data, truncated=entry.cut)

    def _take(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1


class Tail:
    """The last lines, bounded by number and by bytes."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        """Keep at most that much."""
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lines: deque[Line] = deque()
        self._bytes = 0

    @property
    def first_seq(self) -> int:
        """Number of the oldest line kept; 0 when there is none."""
        return self._lines[0].seq if self._lines else 0

    @property
    def last_seq(self) -> int:
        """Number of the newest line; 0 when there is none."""
        return self._lines[-1].seq if self._lines else 0

    def add(self, line: Line) -> None:
        """Add the newest line, forgetting the oldest ones where limits ask for it."""
        self._lines.append(line)
        self._bytes += len(line.data)
        while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
            self._bytes -= len(self._lines.popleft().data)

    def after(self, seq: int, limit: int) -> list[Line]:
        """Return up to `limit` lines with numbers above `seq`, oldest first."""
        if self.last_seq <= seq:
            return []
        start = max(0, len(self._lines) - (self.last_seq - seq))
        return list(itertools.islice(self._lines, start, start + limit))


def stamp_ms(stamp: str) -> int:
    """Return an engine's stamp as Unix milliseconds; 0 if it is none."""
    try:
        return int(datetime.fromisoformat(stamp).timestamp() * 1000)
    except ValueError:
        return 0
