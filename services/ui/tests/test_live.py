from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from manman.v1.logs_pb2 import LogMessage
from manman_devstack.eventually import eventually
from manman_ui import console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import ControlPlane

    from manman_ui.app import Running

STREAM = {"accept": "text/html, text/event-stream"}


@contextlib.asynccontextmanager
async def following(url: str, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[list[dict[str, str]]]:
    """Collect the events of a stream while the block runs."""
    events: list[dict[str, str]] = []

    async def collect() -> None:
        async with (
            httpx2.AsyncClient(base_url=url, timeout=None) as client,
            client.stream("GET", path, headers={**STREAM, **(headers or {})}) as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            event: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line == "":
                    if "data" in event:
                        events.append(event)
                    event = {}
                elif name == "data" and "data" in event:
                    event["data"] += "\n" + value
                elif name:
                    event[name] = value

    async with asyncio.TaskGroup() as group:
        task = group.create_task(collect())
        yield events
        task.cancel()


async def test_a_viewer_gets_what_changed_and_only_that(ui: Running, plane: ControlPlane) -> None:
    async with following(ui.url, "/") as events:
        await eventually(lambda: len(events) >= 1)
        seen = len(events)
        plane.servers[2].status = "online"
        await eventually(lambda: len(events) > seen)
        change = events[seen]["data"]
        assert 'hx-target="#hosts"' in change
        assert 'hx-target="#recent"' not in change


async def test_nothing_is_asked_while_nobody_looks(ui: Running, plane: ControlPlane) -> None:
    async with following(ui.url, "/"):
        await eventually(lambda: ui.live.viewers == 1)
        await eventually(lambda: len(plane.calls) > 5)
    await eventually(lambda: ui.live.viewers == 0)
    await asyncio.sleep(0.2)  # the look under way may end
    asked = len(plane.calls)
    await asyncio.sleep(0.5)
    assert len(plane.calls) == asked


async def test_ten_viewers_cost_the_api_as_much_as_one(ui: Running, plane: ControlPlane) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(following(ui.url, "/"))
        await eventually(lambda: ui.live.viewers == 10)
        plane.calls.clear()
        await eventually(lambda: plane.calls.count("ListServers") >= 3)
        assert plane.calls.count("ListServers") <= plane.calls.count("ListGames") + 1


async def test_viewers_are_told_when_the_api_is_away_and_when_it_is_back(ui: Running, plane: ControlPlane) -> None:
    async with following(ui.url, "/servers") as events:
        await eventually(lambda: len(events) >= 1)
        plane.away = True
        await eventually(lambda: "last known state" in events[-1]["data"])
        plane.away = False
        await eventually(lambda: 'hx-target="#notice"' in events[-1]["data"] and "last known" not in events[-1]["data"])


async def test_a_log_resumes_after_the_last_line_a_browser_saw(ui: Running, plane: ControlPlane) -> None:
    for number in range(1, 6):
        plane.say(4, f"line {number}")
    async with following(ui.url, "/sessions/4/logs/stream", {"last-event-id": "3"}) as events:
        await eventually(lambda: len(events) >= 2)
        plane.say(4, "line 6")
        await eventually(lambda: len(events) >= 3)
    assert [event["id"] for event in events] == ["4", "5", "6"]
    assert [json.loads(event["data"])["text"] for event in events] == ["line 4", "line 5", "line 6"]


async def test_a_log_ends_with_its_session(ui: Running, plane: ControlPlane) -> None:
    plane.say(1, "goodbye")
    async with following(ui.url, "/sessions/1/logs/stream") as events:
        await eventually(lambda: events and events[-1].get("event") == "ended")
    assert json.loads(events[0]["data"])["text"] == "goodbye"


async def test_a_viewer_that_leaves_closes_its_stream_at_the_api(ui: Running, plane: ControlPlane) -> None:
    async with following(ui.url, "/sessions/4/logs/stream"):
        await eventually(lambda: plane.log_requests == [0])
        assert ui.streams.open == 1
    await eventually(lambda: ui.streams.open == 0)


async def test_a_slow_viewer_skips_lines_and_is_told_how_many() -> None:
    waiting = console.Waiting(limit=10)
    for number in range(1, 31):
        waiting.put(LogMessage(sequence_number=number, message=f"line {number}"))
    waiting.end(console.named_event("ended", "over"))
    text = "".join([chunk async for chunk in waiting.events()])
    assert "event: skipped\ndata: 20\n\n" in text
    assert "id: 20\n" not in text
    assert "id: 21\n" in text
    assert "id: 30\n" in text
    assert text.endswith('event: ended\ndata: "over"\n\n')


async def test_a_line_with_line_breaks_stays_one_event() -> None:
    event = console.line_event(LogMessage(sequence_number=7, message="a\n\nevent: ended\ndata: x\r\nid: 9"))
    assert event.count("\n") == 3
    assert event.startswith("id: 7\ndata: {")


async def test_a_running_log_can_be_read_as_text(ui: Running, plane: ControlPlane) -> None:
    plane.say(4, "plain words", "stderr")
    async with httpx2.AsyncClient(base_url=ui.url) as client:
        answer = await client.get("/sessions/4/log.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "stderr  plain words" in answer.text


@pytest.mark.parametrize("path", ["/", "/sessions/4/logs/stream"])
async def test_open_streams_do_not_hold_up_the_end(ui: Running, path: str) -> None:
    async with following(ui.url, path):
        await eventually(lambda: ui.streams.open == 1)
        ui.streams.close()
        await eventually(lambda: ui.streams.open == 0, timeout_s=2)
