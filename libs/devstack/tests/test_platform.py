"""The whole platform as real processes, each of which can be killed and comes back."""

import urllib.request

import pytest

from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform


@pytest.mark.timeout(240)
async def test_a_platform_has_an_online_host_and_its_api_comes_back_after_a_kill() -> None:
    async with Platform(settings={"HEARTBEAT_SECONDS": "0.5"}) as platform:

        def host_is_online() -> bool:
            with urllib.request.urlopen(f"{platform.rest}/v1/servers", timeout=5) as answer:  # noqa: S310 - our own address
                text = answer.read().decode()
            return f'"name":"{platform.server_name}","status":"online"' in text

        await eventually(host_is_online)
        first = platform.pid("api")
        await platform.kill("api")
        assert platform.pid("api") is None
        await platform.start("api")
        assert platform.pid("api") != first
        await eventually(host_is_online)
    assert platform.pid("api") is None


@pytest.mark.timeout(240)
async def test_only_the_named_parts_are_started() -> None:
    async with Platform(parts=["api"]) as platform:
        assert platform.pid("api") is not None
        assert not platform.runs("processor")
