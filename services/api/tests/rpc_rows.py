"""A *row* is one request, and what becomes of it: an answer that holds something, or an error.

What stands in angle brackets in a request is explained in `rpc_scene`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from manman.errors import Invalid
from manman.rpc.errors import RemoteFailure
from manman_devstack.control import Json

NOBODY = 999_999
ABSENT = str(NOBODY)
"""The id of nothing, and as it stands in a text."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request, and either what its answer holds, or the error with words of its text: a field or an id."""

    name: str
    request: Json
    answer: Json = field(default_factory=dict)
    error: type[Exception] | None = None
    words: str = ""
    succeeds: bool = True


def works(name: str, request: Json | None = None, **answer: object) -> Row:
    return Row(name=name, request=request or {}, answer=answer)


def refuses(error: type[Exception], words: str, **request: object) -> Row:
    return Row(name=f"{error.__name__}:{words}", request=request, error=error, words=words, succeeds=False)


def declines(name: str, request: Json, **answer: object) -> Row:
    """Return a row of an RPC that says no in its answer, and not by an error."""
    return Row(name=name, request=request, answer=answer, succeeds=False)


def later(**request: object) -> list[Row]:
    return [Row(name="later", request=request, error=RemoteFailure, words="UNIMPLEMENTED", succeeds=False)]


def holds(*names: str) -> Callable[[object], bool]:
    return lambda text: all(name in str(text) for name in names)


PAGE = refuses(Invalid, "page_token", page_token="LTE=")
"""A page before the first one: the token says -1."""
