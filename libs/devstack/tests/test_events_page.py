from __future__ import annotations

import json
import re
from typing import Any

import pytest

from manman.messages.codec import decode
from manman.messages.external import SessionEvent
from manman_devstack import events_page


def blocks() -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", events_page.PAGE.read_text(), re.DOTALL)]


def test_the_schemas_on_the_events_page_are_what_the_structs_say() -> None:
    page = events_page.PAGE.read_text()
    assert page == events_page.with_schemas(page), "run: python -m manman_devstack.events_page"


@pytest.mark.parametrize("body", events_page.EVENTS.values())
def test_the_page_shows_the_whole_schema_of_every_body(body: Any) -> None:
    shown = next(block for block in blocks() if block.get("title") == body.__name__)

    assert shown == events_page.schema(body)
    assert shown["properties"].keys() == set(body.__struct_fields__)


def test_the_example_on_the_events_page_is_a_session_event_with_every_key_that_the_table_tells() -> None:
    example = next(block for block in blocks() if "$schema" not in block)
    told = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (.*?) \|", events_page.PAGE.read_text(), re.MULTILINE)))

    decode(SessionEvent, json.dumps(example).encode())
    assert example.keys() == set(SessionEvent.__struct_fields__)
    assert example.keys() <= set(told)


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="events_page"):
        events_page.with_schemas("# External events\n")
