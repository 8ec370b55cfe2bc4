"""Paging of lists: a page size that is never too large, and a token that says where the next page begins.

The token is base64 of the row offset. One row more than asked is read; its presence is what makes a next page.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from typing import TYPE_CHECKING, TypeVar

from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = TypeVar("Row")

DEFAULT_SIZE = 50
MAX_SIZE = 100

_OFFSET = re.compile(rb"[0-9]{1,18}")


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A page as asked for."""

    size: int = DEFAULT_SIZE
    offset: int = 0

    @property
    def limit(self) -> int:
        """How many rows to read: the page, and one that tells whether there is more."""
        return self.size + 1

    def cut(self, rows: Sequence[Row]) -> tuple[list[Row], str]:
        """Return the rows of this page and the token of the next one, "" when this is the last."""
        if len(rows) <= self.size:
            return list(rows), ""
        return list(rows[: self.size]), token_of(self.offset + self.size)


def token_of(number: int) -> str:
    """Return the token of the page that begins at this offset, or below this id in lists where new rows come first."""
    return base64.b64encode(str(number).encode()).decode()


def size(asked: int) -> int:
    """Return how many rows to show: 50 unless the request says, at most 100."""
    return min(asked, MAX_SIZE) if asked > 0 else DEFAULT_SIZE


def read(page_size: int, page_token: str) -> Page:
    """Return the page that a request asks for: 50 rows unless it says, at most 100. `Invalid` for a bad token."""
    if not page_token:
        return Page(size(page_size))
    try:
        text = base64.b64decode(page_token, validate=True)
    except (binascii.Error, ValueError):
        text = b""
    if not _OFFSET.fullmatch(text):
        raise Invalid([Problem("page_token", "use the next_page_token of the previous answer, or nothing")])
    return Page(size(page_size), int(text))
