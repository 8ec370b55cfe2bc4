"""The faults: each does one thing to the ground while hosts talk, undoes it, and waits until everything is right.

`FAULTS` names them all. A fault takes the ground and a measure of how much; it returns its toll, or raises
AssertionError when something did not come right.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from manman_devstack import rabbitmq
from manman_devstack.chaos.ground import EVENTS, LIFE, Ground, Processor, Toll
from manman_devstack.chaos.saboteur import POINTS
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_GROWTH_MB = 64.0
"""More memory than that a processor may not take for a storm that is over."""

DOOM_WITHIN_S = 60.0

TAKE_OVER_S = 5.0
"""So soon a processor that stands by goes on with the work of one that was killed."""


@dataclass(frozen=True)
class Measure:
    """How much of everything: sessions whose lives are told, how long a fault lasts, messages of a storm, tries."""

    sessions: int
    pause_s: float
    storm: int
    tries: int


SHORT = Measure(sessions=40, pause_s=3.0, storm=1_000, tries=1)
FULL = Measure(sessions=400, pause_s=30.0, storm=10_000, tries=3)

Fault: TypeAlias = "Callable[[Ground, Measure], Awaitable[Toll]]"


async def processor_killed_at_every_call(ground: Ground, measure: Measure) -> Toll:
    """SIGKILL before and after each call between a report and its acknowledgement, and in the relay."""
    usual = await ground.ready()
    await usual.kill()
    for count in range(1, measure.tries + 1):
        for point in POINTS:
            for when in ("before", "after"):
                sabotage = f"{point}:{when}:{count}"
                await _talk_until_it_dies(
                    ground, ground.processor("doomed", sabotage=sabotage, COMPONENTS="events,relay")
                )
    since = time.monotonic()
    await usual.start()
    return await ground.settled(since)


async def broker_stopped(ground: Ground, measure: Measure) -> Toll:
    """Stop the broker in order, and start it again after a while."""

    async def fault() -> None:
        await asyncio.to_thread(ground.broker.stop)
        await asyncio.sleep(measure.pause_s)
        await asyncio.to_thread(ground.broker.start)

    return await _while_talking(ground, measure, fault)


async def broker_killed(ground: Ground, measure: Measure) -> Toll:
    """Kill the broker and start it at once."""

    async def fault() -> None:
        await asyncio.to_thread(ground.broker.kill)
        await asyncio.to_thread(ground.broker.start)

    return await _while_talking(ground, measure, fault)


async def broker_frozen(ground: Ground, measure: Measure) -> Toll:
    """Let the broker hang (SIGSTOP) until its connections are given up."""

    async def fault() -> None:
        ground.broker.freeze()
        await asyncio.sleep(max(measure.pause_s, 6.0))
        ground.broker.thaw()

    return await _while_talking(ground, measure, fault)


async def database_killed(ground: Ground, measure: Measure) -> Toll:
    """Kill the database and start it again after a while."""

    async def fault() -> None:
        await asyncio.to_thread(ground.server.kill)
        await asyncio.sleep(measure.pause_s)
        await asyncio.to_thread(ground.server.start)

    return await _while_talking(ground, measure, fault)


async def database_frozen(ground: Ground, measure: Measure) -> Toll:
    """Let the database hang (SIGSTOP)."""

    async def fault() -> None:
        ground.server.freeze()
        await asyncio.sleep(measure.pause_s)
        ground.server.thaw()

    return await _while_talking(ground, measure, fault)


async def database_fails_over(ground: Ground, measure: Measure) -> Toll:
    """Cut all connections to the database; behind its address another one answers at once."""
    return await _while_talking(ground, measure, lambda: asyncio.to_thread(ground.server.restart))


async def nobody_there_at_start(ground: Ground, measure: Measure) -> Toll:
    """Start the processor while broker and database refuse connections."""
    usual = await ground.ready()
    await ground.old_enough()
    await ground.live(await ground.sessions(measure.sessions))
    await usual.kill()
    for server in (ground.broker, ground.server):
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(usual.daemon.start)
    await asyncio.sleep(measure.pause_s)
    for server in (ground.server, ground.broker):
        await asyncio.to_thread(server.start)
    return await ground.settled(time.monotonic())


async def queue_deleted(ground: Ground, measure: Measure) -> Toll:
    """Delete the queue of reports under its consumer; what waited in it is lost, the watchdog declares it anew."""
    await ground.ready()
    await ground.onlooker.delete(EVENTS)
    since = time.monotonic()
    await ground.live(await ground.sessions(measure.sessions))
    ground.declared_at = time.monotonic()
    return await ground.settled(since)


async def broker_out_of_disk(ground: Ground, measure: Measure) -> Toll:
    """Let the broker find its disk too full: it takes nothing from publishers until that is over."""

    async def fault() -> None:
        await asyncio.to_thread(rabbitmq.control, ground.broker, "set_disk_free_limit", "1000000GB")
        await _refuses(ground)
        await asyncio.sleep(measure.pause_s)
        await asyncio.to_thread(rabbitmq.control, ground.broker, "set_disk_free_limit", "1GB")

    return await _while_talking(ground, measure, fault)


async def storm_of_nonsense(ground: Ground, measure: Measure) -> Toll:
    """Send messages that no host may send, with lives of sessions in between."""
    usual = await ground.ready()
    before = usual.memory_mb
    sessions = await ground.sessions(measure.sessions)
    for status in LIFE:
        await _nonsense(ground, measure.storm // len(LIFE))
        await ground.say([ground.report(one, status) for one in sessions])
    toll = await ground.settled(time.monotonic())
    toll.growth_mb = usual.memory_mb - before
    return _flat(toll)


async def everything_again_and_again(ground: Ground, measure: Measure) -> Toll:
    """Send every report of some lives so often that the repetitions are a storm."""
    usual = await ground.ready()
    before = usual.memory_mb
    reports = [ground.report(one, status) for status in LIFE for one in await ground.sessions(10)]
    await ground.say(reports)
    for _ in range(measure.storm // len(reports)):
        await ground.say(reports)
        ground.toll.repeats += len(reports)
    toll = await ground.settled(time.monotonic())
    toll.growth_mb = usual.memory_mb - before
    return _flat(toll)


async def active_processor_killed(ground: Ground, measure: Measure) -> Toll:
    """Kill the processor that works while another stands by: it takes over reports, relay and sweeps."""
    usual = await ground.ready()
    standby = ground.processors.get("b") or ground.processor("b")
    await standby.start()  # ready means that it is subscribed
    before = await ground.leaders()

    async def fault() -> None:
        await usual.kill()
        since = time.monotonic()
        await eventually(lambda: _took_over(ground, before), timeout_s=TAKE_OVER_S)
        await eventually(ground.consumed, timeout_s=TAKE_OVER_S - (time.monotonic() - since))

    toll = await _while_talking(ground, measure, fault)
    await standby.kill()
    return toll


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        processor_killed_at_every_call,
        active_processor_killed,
        broker_stopped,
        broker_killed,
        broker_frozen,
        broker_out_of_disk,
        database_killed,
        database_frozen,
        database_fails_over,
        nobody_there_at_start,
        queue_deleted,
        storm_of_nonsense,
        everything_again_and_again,
    )
}


async def _while_talking(ground: Ground, measure: Measure, fault: Callable[[], Awaitable[object]]) -> Toll:
    """Let hosts tell lives of sessions, do the fault in the middle of that, and wait until all is right."""
    await ground.ready()
    await ground.old_enough()
    sessions = await ground.sessions(measure.sessions)
    async with asyncio.TaskGroup() as group:
        group.create_task(ground.live(sessions, lasts_s=measure.pause_s + 1))
        await asyncio.sleep(1.0)
        await fault()
        since = time.monotonic()
    return await ground.settled(since)


async def _talk_until_it_dies(ground: Ground, doomed: Processor) -> None:
    """Say lives, with nonsense among them, to a processor that will end itself."""
    deadline = time.monotonic() + DOOM_WITHIN_S
    await asyncio.to_thread(doomed.daemon.start)
    while doomed.daemon.pid is not None:
        if time.monotonic() > deadline:
            raise AssertionError(f"the processor never came to {doomed.environment['SABOTAGE']}")
        for session_id in await ground.sessions(1):
            for status in LIFE:
                await ground.say([ground.report(session_id, status)])
        await _nonsense(ground, 1)


async def _nonsense(ground: Ground, count: int) -> None:
    kinds = [
        ("status.session.1", b'{"session_id":'),
        ("status.session.0", json.dumps({"session_id": 999_999_999, "status": "running"}).encode()),
        ("health.nonsense", b"[]"),
    ]
    await ground.publish([kinds[index % len(kinds)] for index in range(count)])
    ground.expected_dead += count
    ground.toll.nonsense += count


async def _refuses(ground: Ground) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await ground.onlooker.publish("external", "nobody.listens", b"")
        raise AssertionError("the broker still takes messages")


def _flat(toll: Toll) -> Toll:
    if toll.growth_mb > MOST_GROWTH_MB:
        raise AssertionError(f"the processor grew by {toll.growth_mb:.0f} MB")
    return toll


async def _took_over(ground: Ground, before: list[tuple[object, ...]]) -> None:
    now = await ground.leaders()
    if [lock for lock, _ in now] != [lock for lock, _ in before] or set(now) & set(before):
        raise AssertionError(f"the locks are held as {now}, before as {before}")
