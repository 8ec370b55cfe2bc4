from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from manman.v1.server_game_configs_pb2 import RestartState
from manman.v1.sessions_pb2 import Session
from manman.v1.values_pb2 import RestartPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import ControlPlane

    from manman_ui.app import Running

PAGES = {
    "/": "Dashboard",
    "/sessions": "Sessions",
    "/sessions?status=crashed&server_id=1&sgc_id=1": "139",
    "/sessions/4": "play.example.org",
    "/sessions/1": "Crashed with exit code 139",
    "/servers": "borealis",
    "/servers/1": "27.3.1",
    "/deployments": "Temperate, 1950",
    "/deployments/2": "Capture the flag",
    "/sgc/2": "Capture the flag",
    "/games": "Teeworlds",
    "/games/1": "manman/openttd:14",
    "/games/1/configs/1": "max_clients",
}


@pytest.fixture
async def web(ui: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=ui.url) as client:
        yield client


@pytest.mark.parametrize(("path", "text"), PAGES.items())
async def test_every_page_is_whole_html_that_shows_its_subject(web: httpx2.AsyncClient, path: str, text: str) -> None:
    answer = await web.get(path)
    assert answer.status_code == 200
    assert text in answer.text
    assert answer.text.rstrip().endswith("</html>")


async def test_every_answer_forbids_foreign_and_inline_code(web: httpx2.AsyncClient) -> None:
    answer = await web.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for forbidden in (" style=", "onclick", "<script>", "https://cdn"):
        assert forbidden not in answer.text


async def test_text_from_outside_is_escaped(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    plane.servers[1].name = "<img src=x onerror=alert(1)>"
    plane.sessions[1].status_message = "<script>alert(1)</script>"
    for path in ("/", "/servers", "/servers/1", "/sessions/1", "/deployments"):
        text = (await web.get(path)).text
        assert "<img src=x" not in text
        assert "<script>alert" not in text


async def test_a_secret_in_a_config_is_not_shown(web: httpx2.AsyncClient) -> None:
    answer = await web.get("/games/1/configs/1")
    assert "RCON_PASSWORD" in answer.text
    assert "swordfish" not in answer.text


async def test_the_environment_of_a_deployment_is_shown_without_its_secrets(web: httpx2.AsyncClient) -> None:
    answer = await web.get("/deployments/1")
    assert "<code>hard</code>" in answer.text
    assert "RCON_PASSWORD" in answer.text
    assert "swordfish" not in answer.text


async def test_a_game_that_players_can_join_is_called_ready(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    pages = ("/", "/sessions", "/sessions/4", "/deployments", "/deployments/1")
    for path in pages:
        assert ">Ready</span>" not in (await web.get(path)).text
    plane.sessions[4].phase = "ready"
    for path in pages:
        assert ">Ready</span>" in (await web.get(path)).text, path


async def test_a_deployment_says_how_it_is_started_again(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    assert "<dt>Restarts</dt><dd>never</dd>" in (await web.get("/deployments/2")).text
    policy = RestartPolicy(policy="on_crash", max_attempts=5, window_seconds=600)
    plane.configs[2].restart_policy.CopyFrom(policy)
    for path in ("/deployments/2", "/games/2/configs/2"):
        assert "<dt>Restarts</dt><dd>on crash, at most 5 times in 10 min</dd>" in (await web.get(path)).text
    plane.deployments[2].restart_policy.policy = "always"
    assert "whenever it ends by itself" in (await web.get("/deployments/2")).text


async def test_a_restart_that_waits_says_when_and_can_be_called_off(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    due_at = 1796000000
    plane.deployments[2].restart_state.CopyFrom(
        RestartState(state="waiting", session_id=3, attempt=2, max_attempts=5, window_seconds=600, due_at=due_at)
    )
    text = (await web.get("/deployments/2")).text
    assert "(2 of 5 in 10 min)" in text
    assert f'data-moment="{due_at}"' in text
    plane.servers[1].draining = True
    assert "As soon as its host is undrained." in (await web.get("/deployments/2")).text
    answer = await web.post("/deployments/2/call-off")
    assert answer.headers["location"] == "/deployments/2"
    assert [stop.session_id for stop in plane.stops] == [3]


async def test_a_crash_loop_is_shown_with_its_reason(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    plane.deployments[2].restart_state.CopyFrom(
        RestartState(state="crash_loop", session_id=3, reason="crash loop: 5 restarts within 600 s")
    )
    text = (await web.get("/deployments/2")).text
    assert "crash loop: 5 restarts within 600 s" in text
    assert "Call it off" not in text
    assert "Crash loop</span>" in (await web.get("/deployments")).text


async def test_a_restarted_session_leads_to_the_one_it_follows(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    assert "Restart of" not in (await web.get("/sessions/4")).text
    plane.sessions[4].restart_of_session_id, plane.sessions[4].restart_attempt = 1, 2
    assert '<a href="/sessions/1">#1</a>, number 2' in (await web.get("/sessions/4")).text


async def test_addresses_to_connect_to_name_their_port(web: httpx2.AsyncClient) -> None:
    for path in ("/sessions/4", "/deployments/1"):
        text = (await web.get(path)).text
        assert 'data-copy="play.example.org:27001"' in text
        assert "TCP game" in text


async def test_draining_is_asked_about_and_takes_the_starts_of_a_host_away(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    assert "Drain atlas?" in (await web.get("/servers/1")).text
    assert (await web.post("/servers/1/drain")).headers["location"] == "/servers/1"
    assert plane.servers[1].draining

    for path in ("/servers/1", "/servers", "/deployments"):
        assert ">Draining<" in (await web.get(path)).text, path
    for path in ("/deployments/2", "/deployments/1", "/sessions/3"):
        assert 'action="/deployments/' not in (await web.get(path)).text, path
    assert 'action="/deployments/3/start"' in (await web.get("/deployments")).text

    assert "Take back into service" in (await web.get("/servers/1")).text
    assert (await web.post("/servers/1/undrain")).status_code == 303
    assert 'action="/deployments/2/start"' in (await web.get("/deployments/2")).text


async def test_a_host_that_says_itself_that_it_goes_away_offers_no_start(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    plane.servers[1].host_draining = True
    assert "About to go away" in (await web.get("/servers/1")).text
    assert 'action="/deployments/' not in (await web.get("/deployments/2")).text


async def test_a_secret_parameter_is_shown_neither_on_its_deployment_nor_on_its_session(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    plane.configs[1].parameters.add(key="pw", type="secret")
    plane.deployments[1].parameters.update({"pw": "swordfish", "max_clients": "8"})
    plane.sessions[4].parameters.update({"pw": "swordfish", "max_clients": "9"})
    for path, other in (("/deployments/1", "8"), ("/sessions/4", "9")):
        text = (await web.get(path)).text
        assert "swordfish" not in text
        assert f"<dt><code>max_clients</code></dt><dd><code>{other}</code>" in text
        assert '<dt><code>pw</code></dt><dd><span class="faint">hidden</span>' in text


async def test_a_session_on_an_offline_host_says_that_its_state_is_the_last_known(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    plane.sessions[4].server_game_config_id = 3
    answer = await web.get("/sessions/4")
    assert "Last known: running" in answer.text
    assert "4 min ago" in answer.text


async def test_an_unknown_thing_is_a_page_with_a_way_out(web: httpx2.AsyncClient) -> None:
    for path in (
        "/sessions/99",
        "/servers/99",
        "/deployments/99",
        "/games/99",
        "/games/2/configs/1",
        "/nowhere",
        "/servers/x",
    ):
        answer = await web.get(path)
        assert answer.status_code == 404, path
        assert "To the dashboard" in answer.text


async def test_an_absent_api_is_a_page_that_tries_again_by_itself(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    plane.away = True
    answer = await web.get("/")
    assert answer.status_code == 503
    assert 'http-equiv="refresh"' in answer.text
    assert "Traceback" not in answer.text
    plane.away = False
    assert (await web.get("/")).status_code == 200


async def test_readiness_follows_the_api_and_liveness_does_not(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    assert (await web.get("/readyz")).status_code == 200
    plane.away = True
    assert (await web.get("/readyz")).status_code == 503
    assert (await web.get("/livez")).json() == {"status": "ok"}
    assert (await web.get("/health")).json() == {"status": "ok"}


async def test_starting_leads_to_the_new_session(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    answer = await web.post("/deployments/2/start", data={"parameter.max_clients": "8", "parameter.server_name": ""})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sessions/5"
    assert dict(plane.starts[0].parameters) == {"max_clients": "8"}
    assert not plane.starts[0].force


async def test_starting_what_runs_already_warns_and_offers_force(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    answer = await web.post("/deployments/1/start")
    assert answer.status_code == 409
    assert "OpenTTD is already running" in answer.text
    assert "Force start" in answer.text
    forced = await web.post("/deployments/1/start", data={"force": "yes"})
    assert forced.status_code == 303
    assert plane.starts[-1].force


async def test_stopping_asks_for_good_order_and_force_only_when_said(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    assert (await web.post("/sessions/4/stop")).headers["location"] == "/sessions/4"
    assert (await web.post("/sessions/4/stop", data={"force": "yes"})).status_code == 303
    assert [stop.force for stop in plane.stops] == [False, True]


async def test_input_gets_its_newline(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    answer = await web.post("/sessions/4/input", data={"input": "say hällo"})
    assert answer.status_code == 303
    assert plane.inputs == [(4, "say hällo\n".encode())]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
async def test_another_site_can_change_nothing(
    web: httpx2.AsyncClient, plane: ControlPlane, headers: dict[str, str]
) -> None:
    assert (await web.post("/sessions/4/stop", headers=headers)).status_code == 403
    assert plane.stops == []


async def test_our_own_pages_may_post(web: httpx2.AsyncClient, ui: Running) -> None:
    for headers in ({"sec-fetch-site": "same-origin"}, {"origin": ui.url}):
        assert (await web.post("/sessions/4/stop", headers=headers)).status_code == 303


async def test_a_crashed_session_is_found_by_its_filter_and_nothing_else_is(web: httpx2.AsyncClient) -> None:
    text = (await web.get("/sessions?status=crashed")).text
    assert "row-1" in text
    assert "row-4" not in text
    assert "No session matches" in (await web.get("/sessions?status=lost")).text


async def test_the_page_of_a_crash_shows_its_last_lines_and_what_ended_it(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    plane.lines.clear()
    plane.say(1, "panic: <no> memory", source="stderr")
    plane.sessions[1].exit_signal = 9
    plane.sessions[1].oom_killed = True
    text = (await web.get("/sessions/1")).text
    assert '<span class="last-line last-line-err">panic: &lt;no&gt; memory' in text
    assert "<dt>Signal</dt><dd>9</dd>" in text
    assert "the limit was used up" in text


async def test_only_a_crash_has_last_lines(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    for key in sorted(plane.sessions):
        if plane.sessions[key].status != "crashed":
            assert "Last lines before the crash" not in (await web.get(f"/sessions/{key}")).text


async def test_older_sessions_are_on_the_next_page(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    for key in range(100, 160):
        plane.sessions[key] = Session(session_id=key, server_game_config_id=1, server_id=1, status="stopped")
    first = await web.get("/sessions")
    assert "Older sessions" in first.text
    second = await web.get("/sessions?page_token=50")
    assert 'id="row-4"' in second.text
    assert "Older sessions" not in second.text


async def test_an_empty_platform_tells_what_to_do_next(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    for rows in (plane.servers, plane.games, plane.configs, plane.deployments, plane.sessions):
        rows.clear()
    assert "No hosts yet" in (await web.get("/")).text
    assert "Nothing is deployed" in (await web.get("/")).text
    assert "No games yet" in (await web.get("/games")).text


async def test_static_files_are_kept_by_browsers_only_under_their_fingerprint(web: httpx2.AsyncClient) -> None:
    assert "immutable" in (await web.get("/static/app.js?v=0")).headers["cache-control"]
    assert (await web.get("/static/app.js")).headers["cache-control"] == "no-cache"
    assert (await web.get("/static/vendor/htmx/LICENSE")).status_code == 200
