"""The only reader of the wall clock. Everything that decides takes `now` as an argument instead."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one reader
