from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.reconcile import Finding, Listed, Missing, Move, Recorded, Zombie, reconcile
from manman.domain.sessions import Status, Verdict
from manman.messages.health import RECOVERING

NOW = datetime(2026, 7, 18, 10, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
GRACE_S = 60.0


class Row(NamedTuple):
    status: str
    ended_at: datetime | None
    stop_requested_at: datetime | None = None
    host_boot_id: UUID | None = None
    last_seq: int | None = None


def recorded(status: str, *, news_s_ago: float = 3600, session_id: int = 1) -> Recorded:
    ended = LONG_AGO if status in ("stopped", "crashed", "completed", "lost") else None
    return Recorded(session_id=session_id, view=Row(status, ended), last_news_at=NOW - timedelta(seconds=news_s_ago))


def listed(status: str) -> Listed:
    return Listed(session_id=1, status=status)


@pytest.mark.parametrize(
    ("before", "seen", "finding"),
    [
        ("starting", "running", Move(1, Status.RUNNING, Verdict.GO)),
        ("pending", "running", Move(1, Status.RUNNING, Verdict.GO)),
        ("running", "crashed", Move(1, Status.CRASHED, Verdict.GO)),
        ("lost", "running", Move(1, Status.RUNNING, Verdict.RECOVER)),
        ("stopping", "stopped", Move(1, Status.STOPPED, Verdict.GO)),
        ("running", "running", None),
        ("running", "starting", None),
        ("stopping", "running", None),
        ("crashed", "running", Zombie(1)),
        ("stopped", "stopped", None),
        ("running", "paused", None),
    ],
)
def test_a_listed_session_is_corrected_by_the_same_table(before: str, seen: str, finding: Finding | None) -> None:
    assert reconcile([recorded(before)], [listed(seen)], NOW, GRACE_S) == ([finding] if finding else [])


@pytest.mark.parametrize("before", list(Status))
def test_a_session_that_its_host_is_still_looking_into_is_neither_missing_nor_moved(before: str) -> None:
    assert reconcile([recorded(before)], [listed(RECOVERING)], NOW, GRACE_S) == []


@pytest.mark.parametrize(
    ("before", "finding"),
    [
        ("pending", None),
        ("starting", Missing(1, Status.CRASHED)),
        ("running", Missing(1, Status.CRASHED)),
        ("stopping", Missing(1, Status.STOPPED)),
        ("lost", Missing(1, Status.CRASHED)),
        ("stopped", None),
        ("crashed", None),
        ("completed", None),
    ],
)
def test_a_session_that_the_host_no_longer_has_is_over(before: str, finding: Finding | None) -> None:
    assert reconcile([recorded(before)], [], NOW, GRACE_S) == ([finding] if finding else [])


@pytest.mark.parametrize(("age_s", "found"), [(0, False), (59.9, False), (60, True)])
def test_a_session_with_young_news_is_not_missing(age_s: float, *, found: bool) -> None:
    assert bool(reconcile([recorded("running", news_s_ago=age_s)], [], NOW, GRACE_S)) is found


def test_a_session_that_is_not_recorded_is_left_alone() -> None:
    assert reconcile([], [listed("running")], NOW, GRACE_S) == []


statuses = st.sampled_from(Status)
worlds = st.dictionaries(st.integers(1, 6), st.tuples(statuses, st.floats(0, 200)))
inventories = st.dictionaries(st.integers(1, 8), st.sampled_from([*Status, "paused"]))


@given(worlds, inventories)
def test_applying_the_findings_leaves_nothing_but_zombies(
    world: dict[int, tuple[Status, float]], inventory: dict[int, str]
) -> None:
    sessions = {key: recorded(status, news_s_ago=age, session_id=key) for key, (status, age) in world.items()}
    items = [Listed(session_id=key, status=status) for key, status in inventory.items()]
    for finding in reconcile(sessions.values(), items, NOW, GRACE_S):
        if not isinstance(finding, Zombie):
            sessions[finding.session_id] = recorded(finding.status, session_id=finding.session_id)

    again = reconcile(sessions.values(), items, NOW, GRACE_S)

    assert all(isinstance(finding, Zombie) for finding in again)


@given(worlds, inventories)
def test_each_session_has_at_most_one_finding(
    world: dict[int, tuple[Status, float]], inventory: dict[int, str]
) -> None:
    sessions = [recorded(status, news_s_ago=age, session_id=key) for key, (status, age) in world.items()]
    items = [Listed(session_id=key, status=status) for key, status in inventory.items()]

    found = [finding.session_id for finding in reconcile(sessions, items, NOW, GRACE_S)]

    assert len(set(found)) == len(found)
    assert set(found) <= set(world)
