"""Dead letters leave the broker when, and only when, they are stored; once each, and not more than are kept."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from manman import clock
from manman.background import running
from manman.bus.connection import Connection
from manman.bus.consumer import to_delivery
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher
from manman.bus.topology import declare_host_command_queue, declare_queue, event_queue
from manman.health import Health
from manman.messages.routing import PROCESSOR_EVENT_KEYS, PROCESSOR_EVENTS
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker, amqp
from manman_processor import app
from manman_processor.dead_letters import BATCH, KEPT_BODY_BYTES, Collector, read, turn
from manman_processor.settings import Settings
from manman_processor.sweeps import dead_letters

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPORTS = event_queue(PROCESSOR_EVENTS, PROCESSOR_EVENT_KEYS)
DEAD = "processor-events-dlq"
BROKEN = b'{"session_id": 1, "sta'
PUT_AWAY = {
    "x-manman-reason": "Invalid",
    "x-manman-error": "send one JSON object",
    "x-manman-queue": PROCESSOR_EVENTS,
    "x-manman-routing-key": "status.session.1",
    "x-manman-dead-at": "2026-05-01T11:59:00.5+00:00",
}


def delivery(body: bytes = BROKEN, *, message_id: str | None = "m-1", **headers: object) -> Delivery:
    return Delivery(
        routing_key=DEAD,
        body=body,
        message_id=message_id,
        headers=headers,
        correlation_id=None,
        reply_to=None,
        redelivered=False,
    )


@pytest.fixture
def onlooker(amqp_url: str) -> Onlooker:
    return Onlooker(amqp_url)


@contextlib.asynccontextmanager
async def collecting(uow: Any, broker: Connection) -> AsyncIterator[None]:
    component = Health().component("dead_letters")
    collector = Collector(uow, broker, reports=REPORTS, look_s=0.1, component=component)
    async with running(collector.run(), "collector"):
        yield


async def put_away(publisher: Publisher, message_id: str, body: bytes = BROKEN) -> None:
    await publisher.publish("", DEAD, body, message_id=message_id, headers=PUT_AWAY, mandatory=True)


def stored(database: Any) -> list[Any]:
    rows: list[Any] = database.rows("SELECT * FROM dead_letters ORDER BY dead_letter_id")
    return rows


async def are_stored(database: Any, count: int) -> list[Any]:
    rows = stored(database)
    assert len(rows) == count
    return rows


async def is_empty(onlooker: Onlooker, queue: str) -> None:
    assert await onlooker.depth(queue) == 0


async def test_what_a_reader_refused_and_what_a_host_rejected_are_stored_with_their_reasons(
    *, settings: Settings, broker: Connection, publisher: Publisher, world: Any, database: Any, amqp_url: str
) -> None:
    commands = f"host-{world.server_id}-commands"
    await declare_host_command_queue(broker, world.server_id)
    key = f"command.host.{world.server_id}.session.kill"
    await publisher.publish("manman", key, b"{}", message_id="kill", mandatory=True)
    async with amqp(amqp_url) as host:
        message = await (await (await host.channel()).get_queue(commands)).get()
        assert message is not None
        await message.reject(requeue=False)

    local = {"health_check_port": 0, "health_check_host": "127.0.0.1", "dead_letter_interval_seconds": 0.1}
    async with running(app.main(settings.model_copy(update=local)), "processor"):
        await declare_queue(broker, REPORTS)
        await publisher.publish("manman", "status.session.1", BROKEN, message_id="half", mandatory=True)
        rows = {row["message_id"]: row for row in await eventually(lambda: are_stored(database, 2))}

    half, kill = rows["half"], rows["kill"]
    assert (half["queue"], half["routing_key"], half["reason"]) == (PROCESSOR_EVENTS, "status.session.1", "Invalid")
    assert (half["body"], "JSON" in half["error"]) == (BROKEN, True)
    assert (kill["queue"], kill["routing_key"], kill["reason"]) == (commands, key, "rejected")
    assert abs((clock.now() - kill["dead_at"]).total_seconds()) < 60


async def test_a_crash_between_storing_and_acknowledging_gives_one_row(
    *, uow: Any, broker: Connection, publisher: Publisher, onlooker: Onlooker, database: Any, amqp_url: str
) -> None:
    await declare_queue(broker, REPORTS)
    await put_away(publisher, "m-1")
    async with amqp(amqp_url) as doomed:
        message = await (await (await doomed.channel()).get_queue(DEAD)).get()
        assert message is not None
        async with uow() as tx:
            assert await tx.dead_letters.store([read(PROCESSOR_EVENTS, to_delivery(message), NOW)]) == 1
            await tx.commit()
    # the connection is gone without an acknowledgement: the broker delivers the letter again
    async with collecting(uow, broker):
        await put_away(publisher, "m-2")
        await eventually(lambda: are_stored(database, 2))
        await eventually(lambda: is_empty(onlooker, DEAD))
    assert [row["message_id"] for row in stored(database)] == ["m-1", "m-2"]


def rename(database_url: str, old: str, new: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


async def test_letters_that_cannot_be_stored_stay_in_their_queue_and_are_stored_later(
    *, uow: Any, broker: Connection, publisher: Publisher, onlooker: Onlooker, database: Any, database_url: str
) -> None:
    await declare_queue(broker, REPORTS)
    rename(database_url, "dead_letters", "elsewhere")
    async with collecting(uow, broker):
        with capture_logs() as logs:
            for number in range(BATCH + 5):
                await put_away(publisher, f"m-{number}")
            await eventually(lambda: _is_told(logs, "dead_letters_not_stored"))
    assert await onlooker.depth(DEAD) == BATCH + 5
    rename(database_url, "elsewhere", "dead_letters")
    async with collecting(uow, broker):
        await eventually(lambda: are_stored(database, BATCH + 5))
        await eventually(lambda: is_empty(onlooker, DEAD))


async def _is_told(logs: Sequence[Mapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in logs)


async def test_a_replay_carries_the_old_id_and_is_a_death_of_its_own_if_it_dies_again(
    *, settings: Settings, uow: Any, broker: Connection, publisher: Publisher, database: Any
) -> None:
    await declare_queue(broker, REPORTS)
    await put_away(publisher, "m-1")
    local = {"health_check_port": 0, "health_check_host": "127.0.0.1"}
    async with running(app.main(settings.model_copy(update=local)), "processor"):
        (first,) = await eventually(lambda: are_stored(database, 1))
        async with uow() as tx:
            await tx.dead_letters.replay(await tx.dead_letters.lock_waiting(PROCESSOR_EVENTS), by="me", now=NOW)
            await tx.commit()
        first, second = await eventually(lambda: are_stored(database, 2))
        async with uow() as tx:
            assert await tx.dead_letters.waiting() == {PROCESSOR_EVENTS: 1}
            assert await tx.dead_letters.lock_waiting(PROCESSOR_EVENTS) == [second["dead_letter_id"]]
    (row,) = database.rows("SELECT * FROM outbox")
    assert (first["replayed_at"], first["replayed_by"], first["replay"]) == (NOW, "me", "")
    assert (second["message_id"], second["routing_key"], second["body"]) == ("m-1", "status.session.1", BROKEN)
    assert (second["replayed_at"], second["replay"]) == (None, str(row["message_id"]))


async def test_only_the_newest_letters_are_kept(uow: Any, database: Any) -> None:
    async with uow() as tx:
        for number in range(5):
            await tx.dead_letters.store([read(PROCESSOR_EVENTS, delivery(message_id=f"m-{number}"), NOW)])
        await tx.commit()

    assert await dead_letters.sweep(uow, 5) == 0
    assert await dead_letters.sweep(uow, 2) == 3
    assert [row["message_id"] for row in stored(database)] == ["m-3", "m-4"]


async def test_two_messages_that_share_an_id_are_two_letters_and_two_copies_are_one(uow: Any) -> None:
    copies = [delivery(b"a"), delivery(b"b"), delivery(b"a"), delivery(b"a", **{"x-manman-replayed": "r"})]
    async with uow() as tx:
        assert await tx.dead_letters.store([read(PROCESSOR_EVENTS, one, NOW) for one in copies]) == 3


async def test_any_header_can_be_stored(uow: Any, database: Any) -> None:
    headers: dict[str, Any] = {"x-manman-error": "nul \x00 " + "long" * 1000, "bytes": b"\xff\x00", "at": NOW}
    headers |= {"x-manman-dead-at": "yesterday", "x-death": "not a list", "x-manman-routing-key": "\udcff" * 300}
    body = b"\x00" * (KEPT_BODY_BYTES + 1)
    async with uow() as tx:
        await tx.dead_letters.store([read("host-1-commands", delivery(body, message_id=None, **headers), NOW)])
        await tx.commit()
    (row,) = stored(database)
    assert (row["size_bytes"], len(row["body"]), row["is_cut_off"]) == (len(body), KEPT_BODY_BYTES, True)
    assert (row["dead_at"], row["reason"]) == (NOW, "unknown")


def test_a_letter_of_the_broker_tells_where_and_why_it_died() -> None:
    here = {"queue": "host-7-commands-dlq", "reason": "maxlen", "routing-keys": ["host-7-commands-dlq"]}
    there = {"queue": "host-7-commands", "reason": "expired", "routing-keys": ["command.host.7.session.stop"]}
    letter = read("host-7-commands", delivery(message_id=None, **{"x-death": [here, {**there, "time": NOW}]}), NOW)
    again = read("host-7-commands", delivery(message_id=None, **{"x-death": [{**there, "time": NOW}]}), clock.now())

    assert (letter["reason"], letter["routing_key"]) == ("expired", "command.host.7.session.stop")
    assert (letter["dead_at"], letter["message_id"]) == (NOW, again["message_id"])


@pytest.mark.parametrize("hosts", [1, 3, 4, 7, 12])
def test_every_host_has_its_turn_and_never_more_than_so_many_have(hosts: int) -> None:
    ids = list(range(hosts))
    turns = [turn(ids, number, 3) for number in range(hosts)]

    assert {one for some in turns for one in some} == set(ids)
    assert {len(set(some)) for some in turns} == {min(hosts, 3)}
