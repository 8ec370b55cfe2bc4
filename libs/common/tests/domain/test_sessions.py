"""The whole table, every cell, and the rules that need more than two states."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.sessions import (
    LIVE,
    REPORTABLE,
    TERMINAL,
    Report,
    Status,
    Verdict,
    judge,
    judge_loss,
)

NOW = datetime(2026, 7, 18, 10, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
BOOT = UUID(int=1)

# recorded -> verdict for a report of: starting running stopping stopped crashed, and for a sweep's lost
TABLE = {
    "pending": "go go go go go go",
    "starting": "touch go go go go go",
    "running": "ignore touch go go go go",
    "stopping": "ignore ignore touch go go go",
    "lost": "recover recover recover go go touch",
    "stopped": "ignore zombie ignore enrich enrich ignore",
    "crashed": "ignore zombie ignore enrich enrich ignore",
    "completed": "ignore zombie ignore enrich enrich ignore",
}
REPORTS = ["starting", "running", "stopping", "stopped", "crashed"]
CELLS = [
    (recorded, reported, verdict)
    for recorded, row in TABLE.items()
    for reported, verdict in zip([*REPORTS, "lost"], row.split(), strict=True)
]


class Row(NamedTuple):
    status: str
    ended_at: datetime | None = None
    stop_requested_at: datetime | None = None
    host_boot_id: UUID | None = None
    last_seq: int | None = None


def view(status: str, *, stop_requested: bool = False) -> Row:
    ended = LONG_AGO if status in ("stopped", "crashed", "completed", "lost") else None
    return Row(status, ended_at=ended, stop_requested_at=LONG_AGO if stop_requested else None)


def test_the_table_is_complete() -> None:
    assert {(recorded, reported) for recorded, reported, _ in CELLS} == {
        (recorded, reported) for recorded in Status for reported in [*REPORTABLE, Status.LOST]
    }


@pytest.mark.parametrize(("recorded", "reported", "verdict"), CELLS)
def test_every_cell_has_its_verdict(recorded: str, reported: str, verdict: str) -> None:
    row = view(recorded)

    judgement = judge_loss(row) if reported == "lost" else judge(row, Report(status=reported, exit_code=1), NOW)

    assert judgement.verdict == verdict
    assert judgement.status == (reported if verdict in ("go", "recover") else recorded)


@pytest.mark.parametrize("recorded", list(Status))
@pytest.mark.parametrize("reported", ["pending", "lost", "completed", "", "RUNNING", "exploded"])
def test_what_no_host_may_say_is_impossible(recorded: Status, reported: str) -> None:
    judgement = judge(view(recorded), Report(status=reported), NOW)

    assert judgement.verdict is Verdict.IMPOSSIBLE
    assert judgement.status is recorded
    assert repr(reported) in judgement.why


def test_a_failed_stop_returns_to_running() -> None:
    judgement = judge(view("stopping"), Report(status="running", reason="stop_failed"), NOW)

    assert (judgement.verdict, judgement.status) == (Verdict.GO, Status.RUNNING)


@pytest.mark.parametrize(
    ("report", "stop_requested", "stored"),
    [
        (Report(status="stopped", final_status="completed"), False, "completed"),
        (Report(status="stopped", reason="exited", exit_code=0), False, "completed"),
        (Report(status="stopped", reason="exited", exit_code=0), True, "stopped"),
        (Report(status="stopped", reason="exited", exit_code=1), False, "stopped"),
        (Report(status="stopped", reason="exited"), False, "stopped"),
        (Report(status="stopped", reason="killed", exit_code=0), False, "stopped"),
        (Report(status="stopped", exit_code=0), False, "stopped"),
        (Report(status="crashed", exit_code=0), False, "completed"),
        (Report(status="crashed", exit_code=0), True, "crashed"),
        (Report(status="crashed", exit_code=137), False, "crashed"),
        (Report(status="crashed", exit_code=0, reason="exited"), False, "completed"),
        (Report(status="crashed", exit_code=0, reason="hung"), False, "crashed"),
        (Report(status="crashed", exit_code=0, reason="vanished"), False, "crashed"),
        (Report(status="crashed"), False, "crashed"),
    ],
)
@pytest.mark.parametrize("recorded", ["starting", "running", "stopping", "lost"])
def test_a_clean_end_by_itself_is_completed(
    recorded: str, report: Report, stored: str, *, stop_requested: bool
) -> None:
    assert judge(view(recorded, stop_requested=stop_requested), report, NOW).status == stored


@pytest.mark.parametrize(("age_s", "verdict"), [(0, "ignore"), (9.9, "ignore"), (10, "zombie"), (600, "zombie")])
def test_running_right_after_the_end_is_old_news(age_s: float, verdict: str) -> None:
    row = Row(status=Status.STOPPED, ended_at=NOW - timedelta(seconds=age_s))

    assert judge(row, Report(status="running"), NOW).verdict == verdict


@pytest.mark.parametrize(
    ("reported", "verdict"),
    [("starting", "ignore"), ("running", "zombie"), ("stopping", "ignore"), ("stopped", "go"), ("crashed", "go")],
)
def test_a_lost_session_whose_place_is_taken_does_not_come_back(reported: str, verdict: str) -> None:
    row = Row(status=Status.LOST, ended_at=LONG_AGO)

    assert judge(row, Report(status=reported, exit_code=1), NOW, other_live=True).verdict == verdict


def test_an_older_report_of_the_same_boot_is_ignored() -> None:
    row = Row(status=Status.STARTING, host_boot_id=BOOT, last_seq=5)

    assert judge(row, Report(status="running", host_boot_id=BOOT, seq=4), NOW).verdict is Verdict.IGNORE
    assert judge(row, Report(status="running", host_boot_id=BOOT, seq=6), NOW).verdict is Verdict.GO
    assert judge(row, Report(status="running", host_boot_id=UUID(int=2), seq=1), NOW).verdict is Verdict.GO
    assert judge(row, Report(status="running"), NOW).verdict is Verdict.GO


def test_the_same_report_again_does_not_bring_a_lost_session_back() -> None:
    row = Row(status=Status.LOST, ended_at=LONG_AGO, host_boot_id=BOOT, last_seq=5)

    assert judge(row, Report(status="running", host_boot_id=BOOT, seq=5), NOW).verdict is Verdict.IGNORE
    assert judge(row, Report(status="running", host_boot_id=BOOT, seq=6), NOW).verdict is Verdict.RECOVER


def test_an_older_report_still_enriches_the_end() -> None:
    row = Row(status=Status.CRASHED, ended_at=LONG_AGO, host_boot_id=BOOT, last_seq=5)

    assert judge(row, Report(status="crashed", host_boot_id=BOOT, seq=4), NOW).verdict is Verdict.ENRICH


reports = st.builds(
    Report,
    status=st.one_of(st.sampled_from([*Status, "exploded"]), st.text(max_size=5)),
    exit_code=st.one_of(st.none(), st.integers(-1, 255)),
    reason=st.sampled_from(["", "exited", "killed", "oom", "stop_failed"]),
    final_status=st.sampled_from(["", "completed"]),
    host_boot_id=st.sampled_from([None, BOOT, UUID(int=2)]),
    seq=st.integers(0, 9),
)
views = st.builds(
    Row,
    status=st.sampled_from([status.value for status in Status]),
    ended_at=st.sampled_from([None, LONG_AGO, NOW]),
    stop_requested_at=st.sampled_from([None, LONG_AGO]),
    host_boot_id=st.sampled_from([None, BOOT]),
    last_seq=st.one_of(st.none(), st.integers(0, 9)),
)


@given(views, reports, st.booleans())
def test_what_has_ended_never_changes(row: Row, report: Report, other_live: bool) -> None:  # noqa: FBT001 - given
    if row.status in TERMINAL:
        assert judge(row, report, NOW, other_live=other_live).status == row.status


@given(views, reports, st.booleans())
def test_only_go_and_recover_change_the_state(row: Row, report: Report, other_live: bool) -> None:  # noqa: FBT001 - given
    judgement = judge(row, report, NOW, other_live=other_live)

    assert (judgement.status != row.status) <= (judgement.verdict in (Verdict.GO, Verdict.RECOVER))


@given(views, reports)
def test_the_same_report_twice_changes_the_state_once(row: Row, report: Report) -> None:
    first = judge(row, report, NOW)
    if first.verdict in (Verdict.GO, Verdict.RECOVER):
        ended_at = None if first.status in LIVE else NOW
        after = Row(status=first.status, ended_at=ended_at, host_boot_id=report.host_boot_id, last_seq=report.seq)

        assert judge(after, report, NOW).verdict in (Verdict.TOUCH, Verdict.IGNORE, Verdict.ENRICH)


def test_the_sets_of_states_are_those_of_the_schema() -> None:
    assert {"pending", "starting", "running", "stopping"} == LIVE
    assert {"stopped", "crashed", "completed"} == TERMINAL
    assert LIVE | TERMINAL | {"lost"} == set(Status)
