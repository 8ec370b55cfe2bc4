"""What somebody may fill in before an action's command is sent.

A value becomes part of one line on a game's console. A line end in it would be a second command, so control characters
are refused in every value, whatever the input's type.

Patterns are RE2's, matched anywhere in the value and in linear time: nobody can stall the control plane with one.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped] # it ships no types

from manman.domain.actions import CHECKED, CHOICES, UNCHECKED
from manman.domain.patterns import compile_pattern
from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manman.domain.actions import Field

MAX_CHARACTERS = 4096
"""Of one value."""

_SHOWN_OPTIONS = 20
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
# "Valid e-mail address" of https://html.spec.whatwg.org/multipage/input.html
_EMAIL = re2.compile(
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
)
_LINE_BREAKING = ("Cc", "Zl", "Zp")
"""Unicode categories: control characters, line and paragraph separators."""


def check_inputs(fields: Sequence[Field], given: Mapping[str, str]) -> Problem | None:
    """Return the first thing wrong with what was filled in, by the order in which inputs are shown, under its label.

    Names that are no input are ignored. An input that is not required may be left out or empty.
    """
    for field in in_order(fields):
        text = complaint(field, given.get(field.name, ""))
        if text:
            return Problem(f"{field.label} ({field.name})" if field.label else field.name, text)
    return None


def in_order(fields: Sequence[Field]) -> list[Field]:
    """Return inputs as they are shown."""
    return sorted(fields, key=lambda field: field.display_order)


def complaint(field: Field, value: str) -> str | None:
    """Return what to do about a value that does not fit, None when it fits."""
    if not value:
        return "is required; fill it in" if field.required else None
    return (
        text_complaint(value)
        or _wrong_pattern(field, value)
        or _wrong_type(field, value)
        or _wrong_length(field, value)
    )


def text_complaint(value: str, *, max_characters: int = MAX_CHARACTERS) -> str | None:
    """Return why a text can be no part of a command's line, None when it can."""
    if len(value) > max_characters:
        return f"use at most {max_characters} characters, not {len(value)}"
    if any(unicodedata.category(character) in _LINE_BREAKING for character in value):
        return "leave out line ends, tabs and other control characters"
    return None


def _wrong_pattern(field: Field, value: str) -> str | None:
    if field.pattern and compile_pattern(field.pattern).search(value) is None:
        return f"must match {field.pattern}"
    return None


def _wrong_type(field: Field, value: str) -> str | None:
    if field.type == "number":
        return _wrong_number(field, value)
    if field.type in CHOICES and value not in {option.value for option in field.options}:
        shown = [option.value for option in field.options[:_SHOWN_OPTIONS]]
        return f"choose one of {', '.join(shown)}{', …' if len(field.options) > len(shown) else ''}"
    if field.type == "checkbox" and value not in (CHECKED, UNCHECKED):
        return f"use {CHECKED} or {UNCHECKED}"
    if field.type == "email" and _EMAIL.search(value) is None:
        return "write an e-mail address such as ann@example.org"
    if field.type == "url" and not _is_web_address(value):
        return "write an address that begins with http:// or https://"
    return None


def _wrong_number(field: Field, value: str) -> str | None:
    number = float(value) if _NUMBER.fullmatch(value) else math.inf
    if not math.isfinite(number):
        return "write a number"
    if field.min_value is not None and number < field.min_value:
        return f"use {field.min_value:g} or more"
    if field.max_value is not None and number > field.max_value:
        return f"use {field.max_value:g} or less"
    return None


def _wrong_length(field: Field, value: str) -> str | None:
    if field.min_length is not None and len(value) < field.min_length:
        return f"use at least {field.min_length} characters"
    if field.max_length is not None and len(value) > field.max_length:
        return f"use at most {field.max_length} characters"
    return None


def _is_web_address(value: str) -> bool:
    if any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
