import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from manman import clock
from manman.background import running
from manman.bus.topology import declare_host_command_queue
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.health import Health
from manman.identifiers import new_id
from manman.messages.codec import decode
from manman.messages.commands import GameConfig, ServerGameConfig, StartSession
from manman.messages.external import HostEvent
from manman.messages.routing import command_start, external_host, log_stream
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import amqp
from manman_processor.relay import Relay

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Subscriber:
    """A queue bound to everything external, read by a client that knows nothing of ours."""

    def __init__(self, queue: aio_pika.abc.AbstractQueue) -> None:
        self.queue = queue
        self.messages: list[aio_pika.abc.AbstractIncomingMessage] = []

    async def keys(self) -> list[str]:
        while (message := await self.queue.get(fail=False, no_ack=True)) is not None:
            self.messages.append(message)
        return [str(message.routing_key) for message in self.messages]


@pytest.fixture
async def outsider(amqp_url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with amqp(amqp_url) as connection:
        yield await connection.channel()


@pytest.fixture
async def subscriber(outsider: Any, broker: Any) -> Subscriber:
    queue = await outsider.declare_queue("onlooker", exclusive=True)
    await queue.bind(broker.exchanges[1], routing_key="manman.#")
    return Subscriber(queue)


async def announce(uow: Any, count: int = 1) -> None:
    async with uow() as tx:
        for index in range(count):
            event_id = new_id()
            event = HostEvent(server_id=index + 1, status="online", event_id=event_id)
            tx.outbox.add_external(routing_key=external_host("online"), body=event, message_id=event_id)
        await tx.commit()


async def command_start_of(uow: Any, world: Any, session_id: int, expires_at: datetime) -> None:
    body = StartSession(
        session_id=session_id,
        sgc_id=1,
        game_config=GameConfig(config_id=1, image="openttd"),
        server_game_config=ServerGameConfig(sgc_id=1),
    )
    async with uow() as tx:
        key = command_start(world.server_id)
        tx.outbox.add_command(routing_key=key, body=body, session_id=session_id, expires_at=expires_at)
        await tx.commit()


async def test_an_external_event_reaches_a_subscriber_as_one_json_object(
    relay: Relay, uow: Any, subscriber: Subscriber
) -> None:
    await announce(uow)
    assert await relay.drain() == 1
    assert await subscriber.keys() == ["manman.host.online"]
    (message,) = subscriber.messages
    event = decode(HostEvent, message.body)
    assert message.message_id == event.event_id
    assert message.content_type == "application/json"


async def test_rows_are_published_in_their_order_and_once(relay: Relay, uow: Any, subscriber: Subscriber) -> None:
    await announce(uow, 450)
    assert await relay.drain() == 450
    assert await relay.drain() == 0
    await subscriber.keys()
    assert [decode(HostEvent, message.body).server_id for message in subscriber.messages] == list(range(1, 451))


async def test_a_commit_wakes_the_relay(relay: Relay, uow: Any, subscriber: Subscriber) -> None:
    async with running(relay.run(), "relay"):
        await asyncio.wait_for(relay.drained.wait(), 10)
        await announce(uow)  # the poll is a minute away
        await eventually(lambda: _is(subscriber, ["manman.host.online"]), timeout_s=10)


async def test_what_is_rolled_back_is_never_published(relay: Relay, uow: Any, database: Any) -> None:
    async with uow() as tx:
        event = HostEvent(server_id=1, status="online")
        tx.outbox.add_external(routing_key="manman.host.online", body=event, message_id=new_id())
        await tx.flush()
    assert await relay.drain() == 0
    assert database.keys() == []


async def test_of_two_relays_one_works_and_the_other_takes_over(
    *, relay: Relay, uow: Any, broker: Any, publisher: Any, settings: Any, subscriber: Subscriber
) -> None:
    other = Relay(
        uow,
        broker,
        publisher,
        database=settings,
        external_exchange=settings.external_exchange,
        poll_s=60,
        component=Health().component("relay"),
    )
    async with contextlib.AsyncExitStack() as second:
        async with running(relay.run(), "first"):
            await asyncio.wait_for(relay.drained.wait(), 10)
            await second.enter_async_context(running(other.run(), "second"))
            await announce(uow, 20)
            await eventually(lambda: _is(subscriber, ["manman.host.online"] * 20), timeout_s=10)
        await announce(uow, 1)
        await eventually(lambda: _is(subscriber, ["manman.host.online"] * 21), timeout_s=10)


async def test_a_start_command_finds_its_log_stream_declared(
    *, relay: Relay, uow: Any, world: Any, broker: Any, outsider: Any, database: Any
) -> None:
    queue = await declare_host_command_queue(broker, world.server_id)
    session_id = await world.session()
    await command_start_of(uow, world, session_id, clock.now() + timedelta(minutes=1))
    assert await relay.drain() == 1
    await outsider.declare_queue(log_stream(session_id), passive=True)
    message = await (await outsider.get_queue(queue.name)).get(no_ack=True)
    assert decode(StartSession, message.body).session_id == session_id
    assert 0 < message.expiration <= 60
    assert database.session(session_id)["status"] == "pending"


async def test_a_start_that_no_host_can_take_crashes_the_session(
    relay: Relay, uow: Any, world: Any, subscriber: Subscriber, database: Any
) -> None:
    session_id = await world.session()
    await command_start_of(uow, world, session_id, clock.now() + timedelta(minutes=1))
    assert await relay.drain() == 2
    row = database.session(session_id)
    assert (row["status"], row["status_reason"]) == ("crashed", "host_unreachable")
    assert "no queue" in row["status_message"]
    assert await subscriber.keys() == ["manman.session.crashed"]
    (failed,) = database.rows("SELECT error FROM outbox WHERE failed_at IS NOT NULL")
    assert "no queue" in failed["error"]


async def test_an_expired_start_is_not_sent_and_crashes_the_session(
    *, relay: Relay, uow: Any, world: Any, broker: Any, outsider: Any, database: Any
) -> None:
    queue = await declare_host_command_queue(broker, world.server_id)
    session_id = await world.session()
    await command_start_of(uow, world, session_id, NOW)
    await relay.drain()
    assert database.session(session_id)["status"] == "crashed"
    assert await (await outsider.get_queue(queue.name)).get(fail=False) is None


async def test_a_failed_start_leaves_a_session_that_moved_on_alone(
    relay: Relay, uow: Any, world: Any, database: Any
) -> None:
    session_id = await world.session(Status.RUNNING)
    await command_start_of(uow, world, session_id, NOW)
    await relay.drain()
    assert database.session(session_id)["status"] == "running"


async def test_failed_starts_lock_their_sessions_in_the_order_that_everybody_keeps(
    relay: Relay, uow: Any, world: Any, database: Any
) -> None:
    first, second = await world.session(), await world.session()
    for session_id in (second, first):
        await command_start_of(uow, world, session_id, NOW)
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.TaskGroup() as group, uow() as tx:
        await tx.sessions.lock(first)
        group.create_task(relay.drain())
        await eventually(lambda: database.rows(waits))
        await tx.sessions.lock(second)
        await tx.commit()
    assert [database.session(session_id)["status"] for session_id in (first, second)] == ["crashed", "crashed"]


async def test_a_failed_start_of_a_session_that_was_deleted_stops_nothing(
    relay: Relay, uow: Any, world: Any, subscriber: Subscriber
) -> None:
    await command_start_of(uow, world, 999, NOW)
    await announce(uow)
    assert await relay.drain() == 2
    assert await subscriber.keys() == ["manman.host.online"]


async def test_a_crash_between_publish_and_mark_sends_again_under_the_same_id(
    relay: Relay, uow: Any, world: Any, subscriber: Subscriber, database: Any
) -> None:
    session_id = await world.session(Status.STARTING)
    async with uow() as tx:
        row = await tx.sessions.lock(session_id)
        await transitions.apply(tx, row, Change(status=Status.RUNNING), now=NOW)
        await tx.commit()
    await relay.drain()
    database.rows("UPDATE outbox SET published_at = NULL RETURNING id")  # as if the mark had never been made
    await relay.drain()
    assert await subscriber.keys() == ["manman.session.running"] * 2
    assert len({message.message_id for message in subscriber.messages}) == 1


async def test_a_relay_that_is_told_to_stop_sends_what_is_committed_first(
    relay: Relay, uow: Any, subscriber: Subscriber
) -> None:
    async with running(relay.run(), "relay"):
        await asyncio.wait_for(relay.drained.wait(), 10)
        await announce(uow, 5)
    assert await subscriber.keys() == ["manman.host.online"] * 5


async def _is(subscriber: Subscriber, keys: list[str]) -> bool:
    return await subscriber.keys() == keys
