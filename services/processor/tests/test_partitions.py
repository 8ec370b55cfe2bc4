"""Reports divided among several queues and processes: each host's stay in order, and none is lost or told twice."""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection
from manman.bus.publisher import Outgoing, Publisher
from manman.db.unit_of_work import UnitOfWork
from manman.messages import routing
from manman.messages.codec import encode
from manman.messages.status import SessionReported
from manman_devstack import vhosts
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker
from manman_devstack.parts import Broker
from manman_processor.dispatch import Dispatch
from manman_processor.hearing import Hearing
from manman_processor.reports import take_reports
from manman_processor.settings import Settings

LIFE = ("starting", "running", "stopping", "stopped")
TOLD = ["manman.session.running", "manman.session.stopped"]
HOSTS = 8
SUBSCRIBER = "partitions-subscriber"


def divided(count: int) -> list[topology.Queue]:
    return topology.event_partitions(routing.PROCESSOR_EVENTS, routing.PROCESSOR_EVENT_KEYS, count)


def reports(sessions: dict[int, int], status: str) -> list[Outgoing]:
    """Return what the hosts of these sessions say of them."""
    return [
        Outgoing(
            exchange=routing.EXCHANGE,
            routing_key=routing.status_session(session_id),
            body=encode(SessionReported(session_id=session_id, status=status)),
            message_id=f"{session_id}-{status}",
            headers=routing.said_by(server_id),
            mandatory=True,
        )
        for session_id, server_id in sessions.items()
    ]


@pytest.fixture
async def sessions(uow: UnitOfWork, world: Any) -> dict[int, int]:
    """Make sessions on some hosts; return the host of each."""
    found = {}
    for number in range(HOSTS):
        async with uow() as tx:
            server = await tx.servers.add(name=f"host {number}", status="online")
            game = await tx.games.add(name=f"game {number}")
            await tx.commit()
        here = replace(world, server_id=server.server_id, game_id=game.game_id)
        found |= {await here.session(): server.server_id for _ in range(3)}
    return found


@pytest.fixture
async def onlooker(amqp_url: str) -> Onlooker:
    made = Onlooker(amqp_url)
    await made.subscribe(SUBSCRIBER, "external", "manman.session.#")
    return made


class Told:
    """What a subscriber was told, without the second copies."""

    def __init__(self, onlooker: Onlooker) -> None:
        self._onlooker = onlooker
        self._ids: set[str | None] = set()
        self.keys: dict[int, list[str]] = defaultdict(list)

    async def is_whole(self, sessions: dict[int, int]) -> None:
        """Raise AssertionError unless every session was told to have run and stopped, in this order, and no more."""
        for seen in await self._onlooker.take_all(SUBSCRIBER):
            if seen.message_id not in self._ids:
                self._ids.add(seen.message_id)
                self.keys[json.loads(seen.body)["session_id"]].append(seen.routing_key)
        assert self.keys == dict.fromkeys(sessions, TOLD)


Take = Callable[..., AbstractAsyncContextManager[Hearing]]


@pytest.fixture
def take(settings: Settings, broker: Connection, uow: UnitOfWork) -> Take:
    """Take reports inside the test, divided into so many queues."""

    @asynccontextmanager
    async def taking(count: int) -> AsyncIterator[Hearing]:
        hearing = Hearing()
        changed = settings.model_copy(update={"event_partitions": count})
        dispatch = Dispatch(uow, inventory_grace_s=60)
        async with running(take_reports(changed, broker, dispatch, hearing), "reports"):
            yield hearing

    return taking


async def depths(onlooker: Onlooker, count: int) -> list[int]:
    return [await onlooker.depth(queue.name) for queue in divided(count)]


async def statuses(database: Any) -> set[object]:
    return {row["status"] for row in database.rows("SELECT status FROM sessions")}


async def hears(hearing: Hearing) -> None:
    assert hearing.since is not None


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 3)])
async def test_another_number_of_partitions_takes_first_what_the_old_ones_hold_and_loses_nothing(
    sessions: dict[int, int], *, take: Take, broker: Connection, publisher: Publisher, onlooker: Onlooker,
    database: Any, before: int, after: int,
) -> None:  # fmt: skip
    await topology.declare_queue(broker, divided(before)[0])
    for status in LIFE[:2]:
        assert await publisher.publish_many(reports(sessions, status)) == [None] * len(sessions)
    assert sum(await depths(onlooker, before)) == 2 * len(sessions)
    async with take(after) as hearing:
        await eventually(lambda: hears(hearing), timeout_s=20)
        assert await statuses(database) == {"running"}
        for status in LIFE[2:]:
            assert await publisher.publish_many(reports(sessions, status)) == [None] * len(sessions)

        async def all_stopped() -> None:
            assert await statuses(database) == {"stopped"}

        await eventually(all_stopped)
        assert set(await depths(onlooker, before)) == {-1}
    assert sorted(database.keys()) == sorted(TOLD * len(sessions))


async def test_while_others_consume_with_another_number_nothing_is_taken_from_them_and_the_reason_is_told(
    sessions: dict[int, int], *, take: Take, publisher: Publisher, database: Any, onlooker: Onlooker
) -> None:
    async with take(2) as first:
        await eventually(lambda: hears(first))
        async with take(3) as second:

            async def says_why() -> None:
                with pytest.raises(Exception, match="EVENT_PARTITIONS must be the same"):
                    await second.check()

            await eventually(says_why)
            await publisher.publish_many(reports(sessions, "running"))

            async def all_run() -> None:
                assert await statuses(database) == {"running"}

            await eventually(all_run)
            assert await depths(onlooker, 3) == [-1, -1, -1]


@asynccontextmanager
async def process(settings: Settings, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    database_url, amqp_url = settings.pg_database_url, settings.rabbitmq_url
    assert database_url is not None
    own = {
        "PG_DATABASE_URL": database_url.get_secret_value(),
        "RABBITMQ_URL": amqp_url.get_secret_value(),
        "HEALTH_CHECK_PORT": "0",
        "OUTBOX_POLL_SECONDS": "0.1",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "manman_processor",
        env={**os.environ, **own, **variables},  # noqa: TID251 - the program inherits ours
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def consumers(broker: Broker, amqp_url: str) -> Counter[str]:
    """Return how many processes consume each queue; the broker tells its clients of the active one only."""
    path = f"/api/consumers{urlsplit(amqp_url).path}"
    found = await asyncio.to_thread(vhosts.call, broker.management_url, "GET", path)
    return Counter(one["queue"]["name"] for one in found)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("killed", [0, 1])
async def test_of_two_processes_with_four_partitions_one_is_killed_and_every_session_is_told_once_in_order(
    sessions: dict[int, int],
    *,
    settings: Settings,
    publisher: Publisher,
    onlooker: Onlooker,
    database: Any,
    rabbitmq_urls: Broker,
    amqp_url: str,
    killed: int,
) -> None:
    told = Told(onlooker)
    async with contextlib.AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(process(settings, EVENT_PARTITIONS="4", EVENT_BATCH_MAX="5"))
            for _ in range(2)
        ]

        async def both_consume() -> None:
            assert {queue.name: 2 for queue in divided(4)}.items() <= (await consumers(rabbitmq_urls, amqp_url)).items()

        await eventually(both_consume, timeout_s=40)
        for status in LIFE[:2]:
            assert await publisher.publish_many(reports(sessions, status)) == [None] * len(sessions)
        processes[killed].kill()
        for status in LIFE[2:]:
            assert await publisher.publish_many(reports(sessions, status)) == [None] * len(sessions)
        await eventually(lambda: told.is_whole(sessions), timeout_s=40)
    assert await statuses(database) == {"stopped"}
    assert sorted(database.keys()) == sorted(TOLD * len(sessions))
