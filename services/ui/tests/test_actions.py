from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from manman.v1.actions_pb2 import ActionDefinition, ActionInputField, ActionInputOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import ControlPlane, Watched

    from manman_ui.app import Running

SAVE = ActionDefinition(action_id=1, name="save", label="Save <now>", group_name="World", button_style="success")
QUIT = ActionDefinition(
    action_id=2, name="quit", requires_confirmation=True, confirmation_message="Players are thrown out. Sure?"
)
MAP = ActionDefinition(
    action_id=3,
    name="change_map",
    label="Change map",
    group_name="World",
    input_fields=[
        ActionInputField(
            name="map",
            label="Map",
            field_type="select",
            required=True,
            options=[
                ActionInputOption(value="de_dust2", label="Dust II"),
                ActionInputOption(value="de_inferno", label="Inferno", is_default=True),
            ],
        ),
        ActionInputField(name="seconds", label="Seconds", field_type="number", default_value="5", help_text="to wait"),
        ActionInputField(name="loud", label="Tell everybody", field_type="checkbox", default_value="true"),
        ActionInputField(
            name="mode", label="Mode", field_type="radio", options=[ActionInputOption(value=value) for value in "ab"]
        ),
    ],
)


@pytest.fixture
async def web(ui: Running, plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    plane.actions = {action.action_id: action for action in (SAVE, MAP, QUIT)}
    async with httpx2.AsyncClient(base_url=ui.url) as client:
        yield client


async def test_a_running_session_offers_its_actions_and_an_ended_one_does_not(web: httpx2.AsyncClient) -> None:
    running = (await web.get("/sessions/4")).text
    assert "Save &lt;now&gt;" in running
    for shown in ("World", "Dust II", '<option value="de_inferno" selected>', 'value="5"', "to wait", "quit"):
        assert shown in running
    assert "Change map" not in (await web.get("/sessions/1")).text


async def test_a_button_runs_its_action_and_the_session_shows_it(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    answer = await web.post("/sessions/4/actions/1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions/4#executions")
    page = (await web.get("/sessions/4")).text
    assert "<code>the command</code>" in page
    assert "by ann" in page
    assert [execution.session_id for execution in plane.executions] == [4]


async def test_inputs_arrive_and_an_unchecked_box_is_false(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    checked = {"input.map": "de_dust2", "input.seconds": "", "input.loud": ["false", "true"], "other": "x"}
    await web.post("/sessions/4/actions/3", data=checked)
    await web.post("/sessions/4/actions/3", data={"input.map": "de_dust2", "input.loud": "false"})
    assert [dict(execution.input_values) for execution in plane.executions] == [
        {"map": "de_dust2", "seconds": "", "loud": "true"},
        {"map": "de_dust2", "loud": "false"},
    ]


async def test_an_action_that_wants_it_is_asked_about_first(web: httpx2.AsyncClient, plane: ControlPlane) -> None:
    asked = await web.post("/sessions/4/actions/2")
    assert (asked.status_code, "Players are thrown out. Sure?" in asked.text) == (200, True)
    assert plane.executions == []
    assert (await web.post("/sessions/4/actions/2", data={"confirmed": "yes"})).status_code == 303
    assert len(plane.executions) == 1


async def test_what_was_refused_is_explained_and_nothing_filled_in_is_lost(
    web: httpx2.AsyncClient, plane: ControlPlane
) -> None:
    plane.action_error = "seconds: use <9> or less"
    refused = await web.post("/sessions/4/actions/3", data={"input.map": "de_dust2", "input.seconds": "77"})
    assert refused.status_code == 409
    for shown in ("Change map was not run", "use &lt;9&gt; or less", 'value="77"', '"de_dust2" selected'):
        assert shown in refused.text
    assert "use &lt;9&gt; or less" in (await web.get("/sessions/4")).text


async def test_an_action_that_is_not_offered_is_a_page_with_a_way_out(web: httpx2.AsyncClient) -> None:
    assert (await web.post("/sessions/4/actions/9")).status_code == 404
    assert (await web.post("/sessions/1/actions/1")).status_code == 404


@pytest.mark.usefixtures("web")
async def test_somebody_fills_in_a_form_confirms_and_sees_the_outcome(watched: Watched, plane: ControlPlane) -> None:
    page = watched.page
    await page.goto("/sessions/4")
    await page.locator("summary", has_text="Change map").click()
    await page.get_by_label("Map", exact=True).select_option("de_dust2")
    await page.get_by_label("Tell everybody").uncheck()
    await page.get_by_role("button", name="Change map").click()
    await page.get_by_role("row", name="change_map").get_by_text("sent").wait_for()
    assert dict(plane.executions[0].input_values) == {"map": "de_dust2", "seconds": "5", "loud": "false"}
    await page.get_by_role("button", name="quit").click()
    await page.get_by_text("Players are thrown out").wait_for()
    await page.get_by_role("button", name="quit").click()
    await page.get_by_role("row", name="quit").get_by_text("sent").wait_for()
