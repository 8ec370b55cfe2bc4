"""A part of an answer is compared with the whole."""

import pytest

from manman_devstack.partly import missing

FOUND = {"id": "7", "tags": ["a", "b"], "inner": {"text": "line 3: no key", "more": 1}}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"id": "7", "tags": ["a", "b"]},
        {"inner": {"text": "line …: no key"}},
        {"tags": ["…", "b"], "id": lambda value: int(value) > 0},
    ],
)
def test_what_is_told_is_there(told: object) -> None:
    assert missing(told, FOUND) == []


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({"id": 7}, ".id: "),
        ({"tags": ["a"]}, ".tags: "),
        ({"tags": ["a", "c"]}, ".tags[1]: "),
        ({"inner": {"text": "row …"}}, ".inner.text: "),
        ({"absent": None, "id": "…8"}, ".id: "),
        ({"id": lambda value: int(value) > 7}, ".id: "),
        ([], ": "),
    ],
)
def test_what_is_not_there_is_named(told: object, at: str) -> None:
    (line,) = missing(told, FOUND)
    assert line.startswith(at)
