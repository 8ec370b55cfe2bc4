"""Server streaming over HTTP: server-sent events that can be resumed."""

import asyncio
import json
from typing import Any

import pytest

from manman import errors
from manman_api.rest import events
from manman_devstack.eventually import eventually

URL = "/v1/sessions/1/logs:stream"


def parse(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in blocks]


async def test_each_message_is_an_event_numbered_by_its_sequence_number(site: Any) -> None:
    answer = await site.client.get(URL)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    found = parse(answer.text)
    assert [event["id"] for event in found[:3]] == ["1", "2", "3"]
    assert json.loads(found[1]["data"])["message"] == "two"
    assert found[0]["retry"] == "1000"
    assert found[-1]["event"] == "end"


async def test_last_event_id_goes_on_after_that_event(site: Any) -> None:
    answer = await site.client.get(URL, headers={"last-event-id": "2"})
    assert [event.get("id") for event in parse(answer.text)] == ["3", None]


async def test_a_later_number_in_the_query_wins_over_last_event_id(site: Any) -> None:
    answer = await site.client.get(f"{URL}?after_sequence_number=3", headers={"last-event-id": "1"})
    assert [event.get("id") for event in parse(answer.text)] == [None]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "9" * 40])
async def test_a_last_event_id_that_is_no_number_is_harmless(site: Any, value: str) -> None:
    assert (await site.client.get(URL, headers={"last-event-id": value})).status_code == 200


async def test_a_refusal_before_the_first_event_keeps_its_status(site: Any) -> None:
    answer = await site.client.get("/v1/sessions/404/logs:stream")
    assert (answer.status_code, answer.json()["status"]) == (404, "NOT_FOUND")
    assert (await site.client.get("/v1/sessions/0/logs:stream")).status_code == 400


async def test_a_failure_in_the_middle_is_an_error_event(site: Any) -> None:
    site.logs.raises = errors.Unavailable("the broker is away")
    found = parse((await site.client.get(URL)).text)
    assert found[-1]["event"] == "error"
    assert json.loads(found[-1]["data"])["status"] == "UNAVAILABLE"


async def test_a_silent_stream_opens_and_is_kept_alive(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "OPEN_AFTER_S", 0.01)
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.01)
    site.logs.lines, site.logs.waits = [], True
    comments = 0
    async with site.client.stream("GET", URL) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            comments += line == ": keep-alive"
            if comments == 3:
                break


async def test_a_client_that_leaves_ends_the_servicers_stream(site: Any) -> None:
    site.logs.waits = True
    async with site.client.stream("GET", URL) as answer:
        async for line in answer.aiter_lines():
            if line == "id: 3":
                break
        assert site.logs.open == 1
    await eventually(lambda: site.logs.open == 0)


async def test_a_stopping_service_ends_its_streams_with_an_error_event(site: Any) -> None:
    site.logs.waits = True
    lines: list[str] = []

    async def read() -> None:
        async with site.client.stream("GET", URL) as answer:
            async for line in answer.aiter_lines():
                lines.append(line)  # noqa: PERF401 - the test looks at it meanwhile

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await eventually(lambda: "id: 3" in lines)
        site.chain.end_streams()
    assert "event: error" in lines
    assert any('"UNAVAILABLE"' in line for line in lines)
