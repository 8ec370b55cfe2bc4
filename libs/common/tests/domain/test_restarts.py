from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.configs import RestartPolicy
from manman.domain.restarts import CrashLoop, End, Limits, Restart, decide, limits_of
from manman.domain.sessions import Status

NOW = datetime(2026, 7, 18, 10, tzinfo=UTC)
LIMITS = Limits(
    max_attempts=3,
    window=timedelta(seconds=600),
    backoff=timedelta(seconds=10),
    longest_backoff=timedelta(seconds=60),
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ended(status: Status = Status.CRASHED, **more: object) -> End:
    return End(**{"status": status, "ended_at": NOW, "known_at": NOW, "reason": "exited", **more})  # type: ignore[arg-type] # the table gives each key its type


@pytest.mark.parametrize(
    ("end", "under"),
    [
        (ended(Status.CRASHED), {"on_crash", "always"}),
        (ended(Status.CRASHED, reason="hung"), {"on_crash", "always"}),
        (ended(Status.CRASHED, reason="image_unavailable"), {"on_crash", "always"}),
        (ended(Status.CRASHED, reason="not_found_after_recovery"), {"on_crash", "always"}),
        (ended(Status.COMPLETED), {"always"}),
        (ended(Status.CRASHED, stop_requested=True), set()),
        (ended(Status.COMPLETED, stop_requested=True), set()),
        (ended(Status.CRASHED, reason="host_unreachable"), set()),
        (ended(Status.CRASHED, reason="host_unreachable", is_restart=True), {"on_crash", "always"}),
        (ended(Status.CRASHED, reason="expired"), set()),
        (ended(Status.CRASHED, reason="expired", is_restart=True), {"on_crash", "always"}),
        (ended(Status.CRASHED, reason="expired", is_restart=True, stop_requested=True), set()),
        (ended(Status.CRASHED, reason="invalid_command"), set()),
        (ended(Status.CRASHED, reason="invalid_command", is_restart=True), set()),
        (ended(Status.STOPPED, reason="superseded"), set()),
        (ended(Status.STOPPED, reason="stopped"), set()),
        (ended(Status.LOST, reason="host_offline"), set()),
        (ended(Status.RUNNING), set()),
        (ended(Status.CRASHED, ended_at=ago(3601), known_at=ago(3601)), set()),
        (ended(Status.CRASHED, ended_at=ago(3601), known_at=ago(3600)), {"on_crash", "always"}),
        (ended(Status.CRASHED, ended_at=ago(86400)), {"on_crash", "always"}),
    ],
)
def test_what_ended_by_itself_starts_again_under_the_policies_that_want_it(end: End, under: set[str]) -> None:
    found = {policy for policy in ("", "never", "on_crash", "always") if decide(policy, LIMITS, [], end, NOW)}

    assert found == under


@pytest.mark.parametrize(
    ("restarts_s_ago", "wait_s", "attempt"),
    [([], 10, 1), ([30], 20, 2), ([30, 100], 40, 3), ([700], 10, 1), ([30, 700, 800, 900], 20, 2)],
)
def test_each_restart_within_the_window_waits_twice_as_long(
    restarts_s_ago: list[float], wait_s: float, attempt: int
) -> None:
    restarts = [ago(seconds) for seconds in restarts_s_ago]

    assert decide("on_crash", LIMITS, restarts, ended(), NOW) == Restart(NOW + timedelta(seconds=wait_s), attempt)


def test_for_an_end_that_is_heard_of_late_the_restart_is_due_at_once() -> None:
    assert decide("always", LIMITS, [], ended(ended_at=ago(86400)), NOW) == Restart(NOW, 1)


def test_no_restart_waits_longer_than_the_longest() -> None:
    limits = Limits(max_attempts=100, backoff=timedelta(seconds=3600), longest_backoff=timedelta(hours=2))

    assert decide("always", limits, [NOW] * 99, ended(), NOW) == Restart(NOW + timedelta(hours=2), 100)


@pytest.mark.parametrize(
    ("max_attempts", "reason"),
    [(3, "crash loop: 3 restarts within 600 s"), (1, "crash loop: 3 restarts within 600 s")],
)
def test_beyond_the_attempts_it_is_a_crash_loop_with_a_reason(max_attempts: int, reason: str) -> None:
    limits = Limits(max_attempts=max_attempts, window=timedelta(seconds=600))

    assert decide("on_crash", limits, [ago(1), ago(2), ago(3)], ended(), NOW) == CrashLoop(3, reason)


def test_a_policy_speaks_where_it_says_something_and_the_platform_elsewhere() -> None:
    assert limits_of(RestartPolicy(policy="always"), LIMITS) == LIMITS
    assert limits_of(RestartPolicy(policy="always", max_attempts=7, window_s=60, backoff_s=90), LIMITS) == Limits(
        max_attempts=7,
        window=timedelta(seconds=60),
        backoff=timedelta(seconds=90),
        longest_backoff=timedelta(seconds=90),
    )


@given(
    policy=st.sampled_from(["", "never", "on_crash", "always"]),
    status=st.sampled_from(Status),
    reason=st.sampled_from(["", "exited", "hung", "host_unreachable", "oom"]),
    stop_requested=st.booleans(),
    restarts=st.lists(st.floats(0, 2000).map(ago), max_size=120),
    ended_s_ago=st.floats(0, 7200),
    known_s_ago=st.floats(0, 7200),
    limits=st.builds(
        limits_of,
        st.builds(
            RestartPolicy,
            max_attempts=st.integers(0, 100),
            window_s=st.integers(0, 86400),
            backoff_s=st.integers(0, 3600),
        ),
        st.just(Limits()),
    ),
)
def test_there_are_never_more_restarts_than_allowed_and_none_before_the_end(
    *,
    policy: str,
    status: Status,
    reason: str,
    stop_requested: bool,
    restarts: list[datetime],
    ended_s_ago: float,
    known_s_ago: float,
    limits: Limits,
) -> None:
    end = End(
        status=status,
        ended_at=ago(ended_s_ago),
        known_at=ago(min(known_s_ago, ended_s_ago)),
        reason=reason,
        stop_requested=stop_requested,
    )
    answer = decide(policy, limits, restarts, end, NOW)
    if isinstance(answer, Restart):
        assert not stop_requested
        assert 1 <= answer.attempt <= limits.max_attempts
        assert end.ended_at + limits.backoff <= answer.at <= max(NOW, end.ended_at + limits.longest_backoff)
        assert answer.at >= NOW
    if isinstance(answer, CrashLoop):
        assert answer.restarts >= limits.max_attempts


@given(st.integers(1, 10), st.integers(1, 60))
def test_a_game_that_always_crashes_at_once_is_left_after_exactly_so_many_restarts(
    max_attempts: int, backoff_s: int
) -> None:
    limits = Limits(max_attempts=max_attempts, window=timedelta(days=1), backoff=timedelta(seconds=backoff_s))
    restarts: list[datetime] = []
    moment = NOW
    while isinstance(answer := decide("on_crash", limits, restarts, ended(ended_at=moment), moment), Restart):
        assert answer.at > moment
        restarts.insert(0, answer.at)
        moment = answer.at
    assert isinstance(answer, CrashLoop)
    assert len(restarts) == max_attempts
