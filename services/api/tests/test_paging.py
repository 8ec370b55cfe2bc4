import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.errors import Invalid
from manman_api.paging import Page, read


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (-5, 50), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_a_page_has_fifty_rows_unless_asked_and_never_more_than_a_hundred(asked: int, size: int) -> None:
    assert read(asked, "") == Page(size)


@given(st.integers(1, 100), st.integers(0, 300))
def test_following_the_tokens_shows_every_row_once(size: int, total: int) -> None:
    rows, seen, token = list(range(total)), [], ""
    while True:
        page = read(size, token)
        shown, token = page.cut(rows[page.offset : page.offset + page.limit])
        seen += shown
        assert len(shown) <= size
        if not token:
            break

    assert seen == rows


@pytest.mark.parametrize("text", ["-1", "1.5", "", " 1", "1_0", "9" * 19, "one"])
def test_a_token_that_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="page_token"):
        read(0, base64.b64encode(text.encode()).decode() or "=")


@pytest.mark.parametrize("token", ["%%%", "MQ", "é", "MTA=x"])
def test_a_token_that_is_no_base64_is_refused(token: str) -> None:
    with pytest.raises(Invalid, match="page_token"):
        read(0, token)
