from datetime import UTC, datetime, timedelta

import pytest

from manman.domain.hosts import RETURNING, came_back, is_returning, is_stale

NOW = datetime(2026, 7, 18, 10, tzinfo=UTC)
TEN = timedelta(seconds=10)


@pytest.mark.parametrize(
    ("status", "silent_s", "stale"),
    [("online", 9.99, False), ("online", 10, False), ("online", 10.01, True), ("offline", 3600, False)],
)
def test_a_host_is_stale_when_online_and_silent_longer_than_the_threshold(
    status: str, silent_s: float, *, stale: bool
) -> None:
    assert is_stale(status, NOW - timedelta(seconds=silent_s), NOW, TEN) is stale


def test_a_host_never_seen_is_not_stale() -> None:
    assert not is_stale("online", None, NOW, TEN)


def test_a_host_seen_in_the_future_is_not_stale() -> None:
    assert not is_stale("online", NOW + TEN, NOW, TEN)


def test_a_sign_of_life_is_news_unless_the_host_is_online() -> None:
    assert came_back("offline")
    assert not came_back("online")


@pytest.mark.parametrize(
    ("status", "since", "returning"),
    [
        ("offline", None, True),
        ("online", NOW, True),
        ("online", NOW - RETURNING, False),
        ("online", None, False),
    ],
)
def test_a_host_returns_until_it_is_back_for_a_while(status: str, since: datetime | None, *, returning: bool) -> None:
    assert is_returning(status, since, NOW) == returning
