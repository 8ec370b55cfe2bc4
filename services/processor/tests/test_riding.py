"""What a process commits and relays itself is read with the commit: nobody is notified, nothing is sent twice."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from manman.background import running
from manman.db.outbox import CHANNEL
from manman.domain.sessions import Status
from manman.messages.status import SessionReported
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker, Seen, amqp
from manman_processor.dispatch import Dispatch
from manman_processor.relay import Relay

from .conftest import delivery

QUEUE = "onlooker"


@pytest.fixture
async def onlooker(amqp_url: str, broker: Any) -> Onlooker:
    async with amqp(amqp_url) as connection:
        queue = await (await connection.channel()).declare_queue(QUEUE, durable=True)
        await queue.bind(broker.exchanges[1], routing_key="manman.#")
    return Onlooker(amqp_url)


@pytest.fixture
async def leading(relay: Relay) -> AsyncIterator[Relay]:
    """Give the relay at work; nothing but news makes it look, its poll comes after a minute."""
    async with running(relay.run(), "relay"):
        await eventually(lambda: _is_free(relay))
        yield relay


@pytest.fixture
def dispatch(uow: Any, leading: Relay) -> Dispatch:
    return Dispatch(uow, inventory_grace_s=60, relay=leading)


def _is_free(relay: Relay) -> bool:
    with relay.riding() as ride:
        return ride is not None and ride.limit > 0


async def report(dispatch: Dispatch, session_id: int, *statuses: str) -> None:
    for status in statuses:
        body = SessionReported(session_id=session_id, status=status, exit_code=0 if status == "stopped" else None)
        assert await dispatch.handle([delivery(f"status.session.{session_id}", body)]) == [None]


async def test_events_are_sent_with_the_commit_and_nobody_is_notified(
    dispatch: Dispatch, world: Any, onlooker: Onlooker, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    heard: list[Seen] = []

    async def all_sent() -> None:
        heard.extend(await onlooker.take_all(QUEUE))
        assert [one.routing_key for one in heard] == ["manman.session.running", "manman.session.stopped"]

    with psycopg.connect(database.url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        await report(dispatch, session_id, "running", "stopping", "stopped")
        await eventually(all_sent)
        assert not [*listener.notifies(timeout=0)]
    waiting = "SELECT 1 FROM outbox WHERE published_at IS NULL"
    await eventually(lambda: not database.rows(waiting))


async def test_commits_beside_each_other_have_each_event_sent_once_and_in_order(
    dispatch: Dispatch, world: Any, onlooker: Onlooker
) -> None:
    session_ids = [await world.session(Status.STARTING) for _ in range(30)]
    async with asyncio.TaskGroup() as group:
        for session_id in session_ids:
            group.create_task(report(dispatch, session_id, "running", "stopping", "stopped"))
    heard: list[Seen] = []

    async def all_sent() -> None:
        heard.extend(await onlooker.take_all(QUEUE))
        assert len(heard) >= 2 * len(session_ids)

    await eventually(all_sent)
    assert len({one.message_id for one in heard}) == len(heard) == 2 * len(session_ids)
    lives = defaultdict(list)
    for one in heard:
        lives[one.body.partition(b'"session_id":')[2].partition(b",")[0]].append(one.routing_key)
    assert set(map(tuple, lives.values())) == {("manman.session.running", "manman.session.stopped")}
    assert len(lives) == len(session_ids)


async def test_while_one_commit_reads_along_another_does_not(leading: Relay) -> None:
    def look() -> None:
        with leading.riding() as first, leading.riding() as second:
            assert first is not None
            assert second is not None
            assert (first.limit > 0, second.limit) == (True, 0)

    await eventually(look)  # between two looks of the relay itself


async def test_a_commit_that_failed_leaves_the_relay_free(leading: Relay) -> None:
    with contextlib.suppress(ConnectionError), leading.riding():
        raise ConnectionError
    await eventually(lambda: _is_free(leading))


async def test_who_does_not_relay_has_nothing_read_along(relay: Relay) -> None:
    with relay.riding() as ride:
        assert ride is None
