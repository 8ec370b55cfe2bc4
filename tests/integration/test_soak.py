"""Everything may be killed at any time, and in the end everything agrees: the short form of `make soak`."""

import secrets

import pytest

from manman_devstack.home import Home
from manman_devstack.soak.run import soak

SECONDS = 180.0


@pytest.mark.timeout(900)
async def test_games_that_are_started_and_stopped_while_everything_is_killed_leave_nothing_wrong_behind(
    devstack_home: Home,
) -> None:
    await soak(devstack_home, SECONDS, secrets.randbelow(2**32))
