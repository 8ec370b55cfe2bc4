import asyncio
from collections.abc import Coroutine
from datetime import datetime

import pytest

from manman.periodic import run_periodically


async def run_for(coroutine: Coroutine[object, object, None], until: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
        async with asyncio.timeout(5):
            await until.wait()
        task.cancel()


async def test_two_runs_of_one_sweep_never_overlap() -> None:
    running, most, runs, enough = 0, 0, 0, asyncio.Event()

    async def slow_sweep(_now: datetime) -> int:
        nonlocal running, most, runs
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        runs += 1
        if runs == 4:
            enough.set()
        return 1

    await run_for(run_periodically("slow", slow_sweep, 0.001), enough)
    assert most == 1


async def test_a_sweep_that_fails_runs_again() -> None:
    runs, enough = 0, asyncio.Event()

    async def failing_sweep(_now: datetime) -> int:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
        raise RuntimeError("the database is away")

    await run_for(run_periodically("failing", failing_sweep, 0.001), enough)
    assert runs >= 3


async def test_the_first_run_waits_as_long_as_asked_and_gets_an_aware_time() -> None:
    seen, enough = [], asyncio.Event()

    async def sweep(now: datetime) -> int:
        seen.append((asyncio.get_running_loop().time(), now))
        enough.set()
        return 0

    started = asyncio.get_running_loop().time()
    await run_for(run_periodically("later", sweep, 10, first_after_s=0.1), enough)
    assert seen[0][0] - started >= 0.1
    assert seen[0][1].utcoffset() is not None


async def test_cancelling_ends_it() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run_periodically("cancelled", lambda _now: asyncio.sleep(10, result=0), 10)
