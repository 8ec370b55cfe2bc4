from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.samples import (
    KEPT_STEP_S,
    MAX_POINTS,
    POINTS,
    is_timely,
    per_second,
    whole_steps_before,
    window,
)
from manman.errors import Invalid

NOW = datetime(2026, 5, 1, 12, 3, tzinfo=UTC)
COUNTERS = st.one_of(st.none(), st.floats(min_value=0, max_value=1e18))


@given(before=COUNTERS, after=COUNTERS, elapsed_s=st.floats(min_value=-1e6, max_value=1e6, allow_nan=False))
def test_a_rate_is_never_negative_whatever_a_counter_does(
    before: float | None, after: float | None, elapsed_s: float
) -> None:
    rate = per_second(before, after, elapsed_s)
    assert rate is None or rate >= 0


@given(rises=st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=20), elapsed_s=st.just(0.5))
def test_rates_of_a_counter_that_only_rises_add_up_to_its_rise(rises: list[float], elapsed_s: float) -> None:
    counter = [0.0]
    for rise in rises:
        counter.append(counter[-1] + rise)
    rates = [per_second(before, after, elapsed_s) for before, after in pairwise(counter)]
    assert sum(rate * elapsed_s for rate in rates if rate is not None) == pytest.approx(counter[-1])


def test_a_counter_that_fell_began_again_at_nothing() -> None:
    assert per_second(900, 30, 15) == 2


@pytest.mark.parametrize(("before", "after", "elapsed_s"), [(None, 3, 1), (3, None, 1), (1, 2, 0), (1, 2, -1)])
def test_without_two_counts_and_time_between_them_there_is_no_rate(
    before: float | None, after: float | None, elapsed_s: float
) -> None:
    assert per_second(before, after, elapsed_s) is None


@pytest.mark.parametrize(
    ("age", "timely"),
    [
        (timedelta(0), True),
        (timedelta(minutes=30), True),
        (timedelta(minutes=30, seconds=1), False),
        (-timedelta(minutes=1), True),
        (-timedelta(minutes=1, seconds=1), False),
    ],
)
def test_a_sample_is_stored_unless_it_is_too_old_or_from_the_future(age: timedelta, *, timely: bool) -> None:
    assert is_timely(NOW - age, NOW) is timely


def test_kept_steps_begin_at_whole_multiples_of_their_length() -> None:
    assert whole_steps_before(NOW) == datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    assert whole_steps_before(datetime(2026, 5, 1, 12, 0, tzinfo=UTC)) == datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    assert KEPT_STEP_S == 300


@pytest.mark.parametrize(
    ("length", "step_s"),
    [
        (timedelta(minutes=5), 15),
        (timedelta(hours=1), 15),
        (timedelta(hours=6), 60),
        (timedelta(days=1), 300),
        (timedelta(days=14), 3600),
        (timedelta(days=3650), 8 * 86400),
    ],
)
def test_the_step_suits_the_length(length: timedelta, step_s: int) -> None:
    assert window(NOW - length, NOW, 0, now=NOW).step_s == step_s


@given(seconds=st.integers(min_value=1, max_value=10**10))
def test_no_length_has_more_points_than_are_shown_unless_asked(seconds: int) -> None:
    until = datetime(9999, 1, 1, tzinfo=UTC)
    shown = window(until - timedelta(seconds=seconds), until, 0, now=NOW)
    assert seconds / shown.step_s <= POINTS


def test_the_last_hour_is_shown_when_nothing_is_said() -> None:
    shown = window(None, None, 0, now=NOW)
    assert (shown.since, shown.until) == (NOW - timedelta(hours=1), NOW)


def test_a_finer_step_is_given_when_asked_for_up_to_a_limit() -> None:
    length = timedelta(seconds=MAX_POINTS)
    assert window(NOW - length, NOW, 1, now=NOW).step_s == 1
    with pytest.raises(Invalid, match="resolution_seconds: use at least 2"):
        window(NOW - 2 * length, NOW, 1, now=NOW)


def test_what_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(Invalid, match="until"):
        window(NOW, NOW, 0, now=NOW)
