from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from manman.v1.sessions_pb2 import Session
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import ControlPlane, Watched
    from playwright.async_api import Browser, Page, Route

    from manman_ui.app import Running

ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


async def test_the_dashboard_updates_itself(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    await page.goto("/")
    await expect(page.locator("#pulse")).to_have_text("Live")
    await expect(page.locator("#card-5")).to_have_count(0)
    plane.sessions[5] = Session(
        session_id=5, server_game_config_id=2, server_id=1, status="starting", phase="pull", progress_percent=40
    )
    await expect(page.locator("#card-5 .badge")).to_have_text("Starting")
    await expect(page.locator("#card-5")).to_contain_text("Fetching the image")
    plane.sessions[5].status = "running"
    await expect(page.locator("#card-5 .badge")).to_have_text("Running")
    plane.servers[1].status = "offline"
    await expect(page.locator("#hosts #host-1 .badge")).to_have_text("Offline")
    plane.sessions[5].status = "crashed"
    await expect(page.locator("#card-5")).to_have_count(0)
    await expect(page.locator("#recent #row-5 .badge")).to_have_text("Crashed")


async def test_a_page_follows_also_when_its_scripts_come_late(watched: Watched, plane: ControlPlane) -> None:
    async def late(route: Route) -> None:
        await asyncio.sleep(0.3)  # a slow network: the page's own scripts must wait for each other
        await route.continue_()

    await watched.page.route("**/hx-sse.min.js", late)
    await watched.page.goto("/")
    plane.servers[1].status = "offline"
    await expect(watched.page.locator("#hosts #host-1 .badge")).to_have_text("Offline")


async def test_the_page_says_that_its_state_is_old_while_the_api_is_away(watched: Watched, plane: ControlPlane) -> None:
    await watched.page.goto("/")
    await expect(watched.page.locator("#pulse")).to_have_text("Live")
    plane.away = True
    await expect(watched.page.locator("#notice")).to_contain_text("last known state")
    await expect(watched.page.locator("#card-4")).to_be_visible()
    plane.away = False
    await expect(watched.page.locator("#notice")).to_have_text("")


async def test_the_console_shows_lines_by_source_and_sends_input(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    plane.say(4, "Done (3.1s)!")
    plane.say(4, "careful", "stderr")
    plane.say(4, "image is here", "host")
    await page.goto("/sessions/4")
    await expect(page.locator(".line-stdout")).to_contain_text("Done (3.1s)!")
    await expect(page.locator(".line-stderr")).to_contain_text("careful")
    await expect(page.locator(".line-host")).to_contain_text("image is here")
    plane.say(4, "\x1b[31mred\x1b[0m later")
    await expect(page.locator(".line-stdout").last).to_contain_text("red later")
    await page.fill("#input", "say hello")
    await page.press("#input", "Enter")
    await eventually(lambda: plane.inputs == [(4, b"say hello\n")])
    await expect(page.locator(".line-input")).to_contain_text("say hello")
    await expect(page.locator("#input")).to_have_value("")
    await page.press("#input", "ArrowUp")
    await expect(page.locator("#input")).to_have_value("say hello")


async def test_refused_input_is_explained_and_not_lost(watched: Watched, plane: ControlPlane) -> None:
    plane.input_error = "session 4 is stopping: it takes no input"
    await watched.page.goto("/sessions/4")
    await watched.page.fill("#input", "save")
    await watched.page.press("#input", "Enter")
    await expect(watched.page.locator("[data-note]")).to_contain_text("takes no input")
    await expect(watched.page.locator("#input")).to_have_value("save")
    assert all("409" in complaint for complaint in watched.complaints)
    watched.complaints.clear()


async def test_code_in_a_log_line_is_only_text(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    plane.say(4, ATTACK)
    plane.sessions[4].status_message = ATTACK
    plane.servers[1].name = ATTACK
    await page.goto("/sessions/4")
    await expect(page.locator(".line-stdout")).to_contain_text("<img src=x onerror")
    assert await page.locator("#log img, #log script").count() == 0
    plane.games[1].name = ATTACK  # arrives by the live update
    await expect(page.locator("h1")).to_contain_text("<img src=x")
    assert await page.locator("main img").count() == 0
    assert "owned" not in await page.evaluate("document.title.split(' · ')[1]")
    await page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert await page.evaluate("document.title") != "owned"


async def test_reading_further_up_pauses_the_log(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    for number in range(200):
        plane.say(4, f"line {number}")
    await page.goto("/sessions/4")
    await expect(page.locator(".line").last).to_contain_text("line 199")
    await page.evaluate("document.getElementById('log').scrollTop = 0")
    await expect(page.locator("[data-do=newest]")).to_be_visible()
    plane.say(4, "unseen")
    await expect(page.locator("[data-behind]")).to_have_text("1 new line")
    assert await page.evaluate("document.getElementById('log').scrollTop") < 50
    await page.click("[data-do=newest]")
    await expect(page.locator("[data-do=newest]")).to_be_hidden()
    assert (
        await page.evaluate("(l => l.scrollHeight - l.scrollTop - l.clientHeight)(document.getElementById('log'))") < 50
    )


async def test_the_page_keeps_a_thousand_lines_and_can_clear_hide_and_filter(
    watched: Watched, plane: ControlPlane
) -> None:
    page = watched.page
    for number in range(1500):
        plane.say(4, f"line {number}", "stderr" if number == 1499 else "stdout")
    await page.goto("/sessions/4")
    await expect(page.locator(".line").last).to_contain_text("line 1499")
    assert await page.locator(".line").count() == 1000
    await page.uncheck(".sources input[value=stderr]")
    await expect(page.locator(".line-stderr")).to_be_hidden()
    await page.click("[data-do=hide]")
    await expect(page.locator("#log")).to_be_hidden()
    await page.click("[data-do=hide]")
    await page.click("[data-do=clear]")
    await expect(page.locator(".line")).to_have_count(0)


async def test_a_session_is_started_and_stopped_with_buttons(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    await page.goto("/deployments")
    await page.click("#deployment-2 button:has-text('Start')")
    await expect(page).to_have_url("/sessions/5")
    await expect(page.locator("h1 + .badge")).to_have_text("Pending")
    plane.sessions[5].status = "running"
    await expect(page.locator("h1 + .badge")).to_have_text("Running")
    await page.click(".head-actions > form button:has-text('Stop')")
    await expect(page.locator("h1 + .badge")).to_have_text("Stopping")
    plane.sessions[5].status = "stopped"
    await expect(page.locator("text=Start again")).to_be_visible()


async def test_force_stop_asks_first_and_the_question_outlives_live_updates(
    watched: Watched, plane: ControlPlane
) -> None:
    page = watched.page
    await page.goto("/sessions/4")
    await page.click("button:has-text('Force stop')")
    await expect(page.locator("#force-stop")).to_be_visible()
    plane.games[1].name = "OpenTTD 14"
    await expect(page.locator("#force-stop-title")).to_contain_text("OpenTTD 14")
    await expect(page.locator("#force-stop")).to_be_visible()
    assert plane.stops == []
    await page.click("#force-stop button:has-text('Force stop')")
    await expect(page.locator("h1 + .badge")).to_have_text("Stopped")
    assert [stop.force for stop in plane.stops] == [True]


async def test_force_start_replaces_the_live_session(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    await page.goto("/deployments/1")
    await page.click("button:has-text('Force start')")
    await page.click("#force-start button:has-text('Force start')")
    await expect(page).to_have_url("/sessions/5")
    assert plane.starts[-1].force


async def test_without_scripts_pages_can_be_read_and_games_started_and_stopped(
    plain_page: Page, plane: ControlPlane
) -> None:
    page = plain_page
    await page.goto("/deployments")
    await page.click("#deployment-2 button:has-text('Start')")
    await expect(page.locator("h1")).to_have_text("Teeworlds")
    await page.click(".head-actions > form button:has-text('Stop')")
    assert plane.sessions[5].status == "stopping"
    await page.goto("/sessions/4")
    await page.click("button:has-text('Force stop')")
    await page.click("#force-stop button:has-text('Force stop')")
    await expect(page.locator("h1 + .badge")).to_have_text("Stopped")
    plane.sessions[4].status = "running"
    await page.goto("/sessions/4")
    await page.fill("#input", "save")
    await page.click(".prompt button")
    assert plane.inputs == [(4, b"save\n")]


async def test_the_theme_follows_the_system_until_somebody_chooses(browser: Browser, ui: Running) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    context = await browser.new_context(base_url=ui.url, color_scheme="dark")
    page = await context.new_page()
    await page.goto("/servers")
    dark = await page.evaluate(ground)
    await page.click("#theme")
    light = await page.evaluate(ground)
    assert light != dark
    assert await page.evaluate("localStorage.getItem('manman-theme')") == "light"
    await page.goto("/games")
    assert await page.evaluate(ground) == light
    await context.close()


@pytest.mark.parametrize(
    "path", ["/", "/sessions", "/sessions/4", "/servers/1", "/deployments/1", "/games/1/configs/1"]
)
async def test_no_page_scrolls_sideways_on_a_phone(watched: Watched, path: str) -> None:
    await watched.page.set_viewport_size({"width": 390, "height": 844})
    await watched.page.goto(path)
    assert await watched.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await watched.page.click(".menu-button")
    await expect(watched.page.locator("#menu")).to_be_visible()
