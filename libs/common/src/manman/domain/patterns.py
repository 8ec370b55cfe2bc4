"""Patterns that people give: RE2 expressions, searched unanchored, in time linear in the text."""

from __future__ import annotations

import re2  # type: ignore[import-untyped] # it ships no types

_PATTERN_MEMORY_BYTES = 1 << 20


def pattern_complaint(pattern: str) -> str | None:
    """Return why a pattern cannot be used, None when it can."""
    try:
        compile_pattern(pattern)
    except re2.error as refused:
        reason = refused.args[0]
        return f"is no RE2 expression: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    return None


def compile_pattern(pattern: str) -> re2._Regexp:
    """Return the pattern, ready to search; raises `re2.error` for one that `pattern_complaint` complains about."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    return re2.compile(pattern, options)
