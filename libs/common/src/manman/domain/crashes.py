"""How much of a game's last words is kept with its crash: reports and rows stay small, whatever it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LINES = 200
MAX_BYTES = 32 * 1024
"""Of all lines together, in UTF-8."""


def longest_line(sizes_bytes: Collection[int], total_bytes: int = MAX_BYTES) -> int:
    """Return to how many bytes each line must be cut so that all fit: short lines stay whole, the longest lose most."""
    left = total_bytes
    for index, size in enumerate(sorted(sizes_bytes)):
        share = left // (len(sizes_bytes) - index)
        if size > share:
            return share
        left -= size
    return max(sizes_bytes, default=0)


def cut(text: str, limit_bytes: int) -> str:
    """Return the beginning of `text` that has at most that many bytes, never half a character."""
    return text.encode()[:limit_bytes].decode(errors="ignore")
