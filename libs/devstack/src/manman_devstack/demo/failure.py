"""The demo's one error: something is not as it should be, with all that helps to find out why."""

from __future__ import annotations


class DemoError(Exception):
    """What was expected and did not happen. `details` are further lines: last status, last log lines, where to look."""

    def __init__(self, expected: str, details: list[str] | None = None) -> None:
        """Keep the sentence and its details."""
        self.details = details or []
        super().__init__(expected)
