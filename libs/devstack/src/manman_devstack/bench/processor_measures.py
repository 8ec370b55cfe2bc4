"""What the processor's bench measures: a backlog that is drained, the time that one report takes, and a whole fleet.

Every drain is verified: each event came out, those of a session in their order, and the database has the last state.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from manman import service
from manman.background import running
from manman_devstack.bench.processor_fleet import heartbeat, lives, report
from manman_devstack.bench.processor_ground import AUDIT, BARE_RELAY, LOOK_S, NO_HOST_IS_STALE_S, PROCESSOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from manman.bus.lane import Lane
    from manman.bus.publisher import Outgoing, Result
    from manman_devstack.bench.processor_ground import Ground, Usage

LIFE = ["running", "stopped"]
PREFETCH = 5000
CONFIRM_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 300.0
LATE_S = 30.0
"""So long an event may be on its way before the bench gives up."""

WARM_UP_S = 1.0
BEAT_S = 3.0
OFFER_EVERY_BEATS = 10


class _Relayed(msgspec.Struct):
    """What a report and the event about it have in common."""

    session_id: int
    status: str


@dataclass(frozen=True)
class Drain:
    """How a backlog went down."""

    events: int
    used: Usage

    @property
    def per_s(self) -> float:
        """Events in a second."""
        return self.events / self.used.elapsed_s

    def cpu_us(self) -> tuple[float, float, float]:
        """Return processor time for one event, in microseconds: Python, broker, database."""
        used = self.used
        python, broker, database = (
            part / self.events * 1e6 for part in (used.python_s, used.broker_s, used.database_s)
        )
        return python, broker, database


@dataclass(frozen=True)
class Latency:
    """How long events took from the publishing of the report until a subscriber had the event, in seconds."""

    took_s: list[float]

    def p_ms(self, percent: int) -> float:
        """Return a percentile in milliseconds."""
        return statistics.quantiles(self.took_s, n=100)[percent - 1] * 1e3

    @property
    def longest_ms(self) -> float:
        """The longest of all, in milliseconds."""
        return max(self.took_s) * 1e3


def together(rounds: Iterable[Latency]) -> Latency:
    """Return what several rounds found, as one."""
    return Latency([took_s for one in rounds for took_s in one.took_s])


async def drain(ground: Ground, module: str, events: int) -> Drain:
    """Let a program work through a backlog of whole lives."""
    await ground.begin_again()
    session_ids = ground.fleet.session_ids(events // len(LIFE))
    await ground.offer([*lives(session_ids)])
    with ground.running(module, stale_host_threshold_seconds=NO_HOST_IS_STALE_S) as pid:
        first = await _until(ground, 1)
        before = ground.usage(pid)
        await _until(ground, events)
        used = ground.usage(pid).since(before)
    await _verify(ground, session_ids, stored=module != BARE_RELAY)
    return Drain(events - first, used)


async def drain_heartbeats(ground: Ground, beats: int, hosts: int) -> Drain:
    """Let the processor work through heartbeats without inventories; a report in front and one behind mark the time."""
    await ground.begin_again()
    marker = ground.fleet.session_ids(1)[0]
    server_ids = itertools.islice(itertools.cycle(list(ground.fleet.sessions)[:hosts]), beats)
    messages = [heartbeat(server_id, None) for server_id in server_ids]
    await ground.offer([report(marker, "running", seq=1), *messages, report(marker, "stopped", seq=2)])
    with ground.running(PROCESSOR, stale_host_threshold_seconds=NO_HOST_IS_STALE_S) as pid:
        await _until(ground, 1)
        before = ground.usage(pid)
        await _until(ground, len(LIFE))
        return Drain(beats, ground.usage(pid).since(before))


async def latency(ground: Ground, module: str, per_s: float, seconds: float) -> Latency:
    """Offer reports at a steady rate and see when their events arrive. The first second does not count."""
    await ground.begin_again()
    count = int(per_s * (seconds + WARM_UP_S))
    messages = [*lives(ground.fleet.session_ids(count // len(LIFE)))]
    service.settle()  # or the bench's own garbage collection would be measured
    with ground.running(module, stale_host_threshold_seconds=NO_HOST_IS_STALE_S):
        await ground.consuming()
        async with _listening(ground) as watch:
            await watch.offer(messages, per_s)
            await watch.all_heard()
        return Latency(watch.took_s[int(per_s * WARM_UP_S) :])


async def simulate(ground: Ground, seconds: float, ends_per_s: float) -> tuple[Latency, Drain]:
    """Let every host beat with its inventory while sessions end; return the lag, and what a beat or report cost."""
    await ground.begin_again("running")
    running_on = {server_id: set(session_ids) for server_id, session_ids in ground.fleet.sessions.items()}
    host_of = {session: server for server, sessions in running_on.items() for session in sessions}
    ending = ground.fleet.session_ids(int(seconds * ends_per_s))

    def beats() -> Iterable[Outgoing]:
        for round_ in itertools.count():
            for number, (server_id, session_ids) in enumerate(running_on.items()):
                offers = (round_ + number) % OFFER_EVERY_BEATS == 0
                yield heartbeat(server_id, sorted(session_ids), offers=offers)

    def ends() -> Iterable[Outgoing]:
        for session_id in ending:
            running_on[host_of[session_id]].discard(session_id)
            yield report(session_id, "stopped", seq=2)

    with ground.running(PROCESSOR) as pid:
        await ground.consuming()
        async with _listening(ground) as watch:
            before = ground.usage(pid)
            beats_per_s = len(running_on) / BEAT_S
            async with running(watch.offer(beats(), beats_per_s, watched=False), "heartbeats"):
                await watch.offer(ends(), ends_per_s)
                await watch.all_heard()
            used = ground.usage(pid).since(before)
    wrong = {s for s, status in ground.fleet.statuses().items() if (status == "stopped") != (s in set(ending))}
    if wrong:
        raise RuntimeError(f"{len(wrong)} sessions are not in the state that their hosts last told")
    return Latency(watch.took_s), Drain(int(used.elapsed_s * (beats_per_s + ends_per_s)), used)


class _Watch:
    """Offers messages at a steady rate, and hears the events that come of them."""

    def __init__(self, lane: Lane, ground: Ground) -> None:
        self.took_s: list[float] = []
        self._lane = lane
        self._ground = ground
        self._offered_at: dict[tuple[int, str], float] = {}

    async def offer(self, messages: Iterable[Outgoing], per_s: float, *, watched: bool = True) -> None:
        """Publish each message when it is due, whether the others are confirmed or not."""
        sender = await self._ground.publisher.open_sender()
        unconfirmed: deque[asyncio.Future[list[Result]]] = deque()
        begin, due = time.perf_counter(), 0
        source = iter(messages)
        while True:
            now = time.perf_counter()
            wanted = max(0, int((now - begin) * per_s) + 1 - due)
            part = [*itertools.islice(source, wanted)]
            if wanted > 0 and not part:
                break
            due += len(part)
            if watched:
                self._offered_at |= {_key(message.body): now for message in part}
            unconfirmed.append(sender.send(part, timeout_s=CONFIRM_TIMEOUT_S))
            while unconfirmed and unconfirmed[0].done():
                _confirmed(unconfirmed.popleft().result())
            await asyncio.sleep(max(0.0, begin + due / per_s - time.perf_counter()))
        for results in unconfirmed:
            _confirmed(await results)

    async def hear(self) -> None:
        """Note when each event arrives."""
        while True:
            batch, tag = await self._lane.next_batch(PREFETCH)
            now = time.perf_counter()
            for delivery in batch:
                offered_at = self._offered_at.pop(_key(delivery.body), None)
                if offered_at is not None:  # else a copy
                    self.took_s.append(now - offered_at)
            self._lane.acknowledge(tag)

    async def all_heard(self) -> None:
        """Wait for the rest."""
        async with asyncio.timeout(LATE_S):
            while self._offered_at:  # noqa: ASYNC110 - what it waits for comes from another program
                await asyncio.sleep(LOOK_S)


@contextlib.asynccontextmanager
async def _listening(ground: Ground) -> AsyncIterator[_Watch]:
    async with _audit(ground) as lane:
        watch = _Watch(lane, ground)
        async with running(watch.hear(), "listener"):
            yield watch


@contextlib.asynccontextmanager
async def _audit(ground: Ground) -> AsyncIterator[Lane]:
    lane = await ground.connection.open_lane()
    try:
        await lane.consume(AUDIT.name, prefetch=PREFETCH)
        yield lane
    finally:
        await lane.close(1.0)


async def _until(ground: Ground, events: int) -> int:
    """Wait until so many events came out; return how many there are."""
    async with asyncio.timeout(DRAIN_TIMEOUT_S):
        while (found := await ground.waiting(AUDIT)) < events:  # noqa: ASYNC110 - the queue does not call us
            await asyncio.sleep(LOOK_S)
    return found


async def _verify(ground: Ground, session_ids: Sequence[int], *, stored: bool) -> None:
    """Read everything back; RuntimeError when an event is missing or out of order, or a row is not final."""
    heard: dict[int, list[str]] = defaultdict(list)
    ids: set[str | None] = set()
    async with _audit(ground) as lane, asyncio.timeout(DRAIN_TIMEOUT_S):
        while len(ids) < len(session_ids) * len(LIFE):
            batch, tag = await lane.next_batch(PREFETCH)
            for delivery in batch:
                if delivery.message_id not in ids:
                    ids.add(delivery.message_id)
                    session_id, status = _key(delivery.body)
                    heard[session_id].append(status)
            lane.acknowledge(tag)
    wrong = [session_id for session_id in session_ids if heard[session_id] != LIFE]
    if stored:
        statuses = ground.fleet.statuses()
        wrong += [session_id for session_id in session_ids if statuses[session_id] != LIFE[-1]]
    if wrong:
        raise RuntimeError(f"{len(wrong)} sessions came out wrong; one of them: {heard[wrong[0]]}")


def _confirmed(results: list[Result]) -> None:
    if any(results):
        raise RuntimeError("the broker did not take every message")


def _key(body: bytes) -> tuple[int, str]:
    """Return which session became what, from a report or an event."""
    said = msgspec.json.decode(body, type=_Relayed)
    return said.session_id, said.status
