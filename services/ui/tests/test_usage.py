"""What a game used: its numbers in words, its lines, and the page that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from manman import clock
from manman.v1.stats_pb2 import SessionStatsPoint
from manman_ui.usage import HEIGHT, OLD_S, WIDTH, end_of, usage

if TYPE_CHECKING:
    from conftest import ControlPlane

    from manman_ui.app import Running

NOW_S = 1_784_368_810
MEBI = 1 << 20


def point(minutes_ago: int, now_s: int = NOW_S, **values: Any) -> SessionStatsPoint:
    return SessionStatsPoint(at=end_of(now_s) - 60 * (minutes_ago + 1), **values)


def test_the_newest_number_is_shown_with_what_there_is_room_for() -> None:
    seen = usage(
        [
            point(1, cpu_cores=1.2, cpu_cores_peak=1.5, memory_bytes=10 * MEBI, players=1),
            point(
                0, cpu_cores=0.25, memory_bytes=700 * MEBI, memory_limit_bytes=2048 * MEBI, players=2.5, players_max=8
            ),
        ],
        NOW_S,
    )
    assert seen is not None
    assert [(trend.label, trend.now, trend.peak) for trend in seen.trends] == [
        ("CPU", "0.25 cores", "1.5 cores"),
        ("Memory", "700 MB of 2 GB", "700 MB"),
        ("Players", "2.5 of 8", "2.5"),
    ]
    assert seen.old_since == 0


def test_a_number_that_is_not_known_now_is_called_unknown_and_one_that_never_was_is_left_out() -> None:
    seen = usage([point(1, players=3, players_max=8), point(0, cpu_cores=0.0, players_max=8)], NOW_S)
    assert seen is not None
    assert [(trend.label, trend.now) for trend in seen.trends] == [("CPU", "0 cores"), ("Players", "unknown")]


def test_without_points_there_is_nothing_to_show() -> None:
    assert usage([], NOW_S) is None


def test_a_line_runs_over_the_hour_from_zero_to_the_peak_and_breaks_where_nothing_is_known() -> None:
    points = [point(59, cpu_cores=0), point(58, cpu_cores=2), point(29, cpu_cores=1), point(28, cpu_cores=2)]
    seen = usage(points, NOW_S)
    assert seen is not None
    third, fourth = WIDTH / 2, WIDTH * 31 / 60
    line = f"M0.0 {HEIGHT}.0h0 L4.0 0.0 M{third:.1f} {HEIGHT / 2:.1f}h0 L{fourth:.1f} 0.0"
    assert [trend.path for trend in seen.trends] == [line]


def test_a_line_stays_as_it_is_while_its_minute_lasts() -> None:
    points = [point(1, cpu_cores=1), point(0, cpu_cores=2)]
    assert usage(points, NOW_S) == usage(points, NOW_S + 30)


def test_numbers_that_nothing_newer_followed_for_long_say_since_when_they_are() -> None:
    last = point(0, cpu_cores=1)
    young, old = usage([last], last.at + OLD_S), usage([last], last.at + OLD_S + 1)
    assert young is not None
    assert old is not None
    assert (young.old_since, old.old_since) == (0, last.at)


@pytest.fixture
async def web(ui: Running) -> Any:
    async with httpx2.AsyncClient(base_url=ui.url) as client:
        yield client


async def test_the_page_of_a_running_session_shows_what_its_game_uses(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    assert "in the last hour" not in (await web.get("/sessions/4")).text
    now_s = int(clock.now().timestamp())
    plane.stats = [point(ago, now_s, cpu_cores=0.5, players=3, players_max=20) for ago in (2, 1, 0)]
    text = (await web.get("/sessions/4")).text
    assert '<span>CPU</span><span class="number">0.5 cores</span>' in text
    assert '<span>Players</span><span class="number">3 of 20</span>' in text
    assert 'aria-label="CPU in the last hour, at most 0.5 cores"' in text
    assert "Memory</span>" not in text


async def test_nothing_is_asked_of_what_an_ended_game_uses(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    await web.get("/sessions/2")
    assert "GetSessionStats" not in plane.calls
