"""Comparing an answer with what is told of it: a part of it, because a test or a page shows only what matters.

Of an object the named keys must be there, of a list as many items; `…` in a text stands for any text, and a function
answers for itself.
"""

import re

ANY = "…"


def missing(told: object, found: object, at: str = "") -> list[str]:
    """Return where `found` does not have what is told, in words; nothing when it does. `at` is the path so far."""
    if isinstance(told, dict) and isinstance(found, dict):
        return [line for key, one in told.items() for line in missing(one, found.get(key), f"{at}.{key}")]
    if isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        pairs = enumerate(zip(told, found, strict=True))
        return [line for index, (one, other) in pairs for line in missing(one, other, f"{at}[{index}]")]
    if callable(told):
        return [] if told(found) else [f"{at}: {found!r} does not do"]
    if isinstance(told, str) and isinstance(found, str) and ANY in told:
        return [] if re.fullmatch(pattern(told), found, re.DOTALL) else [f"{at}: {found!r} is not like {told!r}"]
    return [] if told == found else [f"{at}: {found!r} instead of {told!r}"]


def pattern(told: str) -> str:
    """Return the regular expression of a text with `…` in it."""
    return re.escape(told).replace(re.escape(ANY), ".*")
