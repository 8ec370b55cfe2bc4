"""The demo is a test, too: a real OpenTTD server through every part of the platform, twice."""

from __future__ import annotations

import io
import re

import pytest

from manman_devstack.demo.addresses import Addresses
from manman_devstack.demo.rest import Rest
from manman_devstack.demo.screen import Screen
from manman_devstack.demo.story import Story
from manman_devstack.platform import Platform

STEPS = 13


async def perform(platform: Platform) -> str:
    """Play the demo against this platform and return what it printed."""
    out = io.StringIO()
    addresses = Addresses(
        rest=platform.rest,
        ui=platform.ui,
        rabbitmq_url=platform.amqp_url,
        docker_host=platform.docker_host,
        logs="",
    )
    await Story(addresses, Screen(out, colours=False), "127.0.0.1").play()
    return out.getvalue()


async def log_of(platform: Platform, session_id: str) -> list[str]:
    """Return every line of an ended session's log."""
    async with Rest(platform.rest) as rest, rest.events(f"/v1/sessions/{session_id}/logs:stream") as events:
        return [event.get("message", "") async for event in events]


@pytest.mark.timeout(300)
async def test_the_demo_plays_a_real_game_through_the_whole_platform_twice() -> None:
    async with Platform() as platform:
        first = await perform(platform)
        second = await perform(platform)
        lines = await log_of(platform, session_id="1")

    assert 'use "help" for more information.' in lines
    assert not [line for line in lines if line.startswith("[manman]") and "missing" in line]
    for told in (first, second):
        assert len(re.findall(r"^ ?\d+  \S", told, re.MULTILINE)) == STEPS, told
        assert len(re.findall(r"running +ready$", told, re.MULTILINE)) == len(["first", "second"])
        assert '"ManMan demo", OpenTTD 13' in told
        assert "[All] Server: hello from ManMan" in told
        assert re.search(r"crashed +exit code 137, reason signal", told)
        assert re.search(r"stopped +exit code 0, reason stopped", told)
        keys = re.findall(r"^    (manman\.session\.\w+)", told, re.MULTILINE)
        assert [key.rpartition(".")[2] for key in keys] == ["running", "crashed", "running", "stopped"]
        assert "Everything is as it should be" in told
    assert "making a new world" in first
    assert "was there, brought up to date" not in first
    assert "loading the saved world" in second, "the world of the first session should have survived"
    assert "created" not in second, "a second run should use what the first one made"
