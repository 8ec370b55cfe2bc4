"""Faults of `make chaos`, in short: nothing is lost, nothing is announced twice, nothing is stuck."""

from collections.abc import AsyncIterator

import pytest

from manman_devstack.chaos import faults
from manman_devstack.chaos.faults import SHORT, Fault
from manman_devstack.chaos.ground import Ground
from manman_devstack.home import Home

pytestmark = pytest.mark.timeout(240)

PLAYED = (
    faults.processor_killed_at_every_call,
    faults.active_processor_killed,
    faults.broker_killed,
    faults.database_killed,
    faults.queue_deleted,
    faults.storm_of_nonsense,
    faults.everything_again_and_again,
)
"""The others differ from these by how long something is away: `make chaos` has the time for them."""


@pytest.fixture(scope="module")
async def ground(devstack_home: Home) -> AsyncIterator[Ground]:
    async with Ground(devstack_home) as made:
        yield made


@pytest.mark.parametrize("fault", PLAYED, ids=lambda fault: fault.__name__)
async def test_rows_and_events_come_right_after(ground: Ground, fault: Fault) -> None:
    toll = await fault(ground, SHORT)
    assert toll.events > 0
