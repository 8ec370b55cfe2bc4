"""The event log: what subscribers were told, in the order in which they were told."""

import asyncio
from datetime import timedelta
from typing import Any

from manman.identifiers import new_id
from manman.messages import dead_letters
from manman.messages.codec import decode
from manman.messages.commands import StopSession
from manman.messages.external import HostEvent, SessionEvent
from manman.messages.routing import command_stop, external_host, external_session
from manman_devstack.onlooker import Onlooker
from manman_processor.relay import Relay
from manman_processor.sweeps import settled_messages

from .conftest import NOW


async def announce(uow: Any, *server_ids: int) -> None:
    async with uow() as tx:
        for server_id in server_ids:
            event_id = new_id()
            body = HostEvent(server_id=server_id, status="online", event_id=event_id, occurred_at=NOW)
            tx.outbox.add_external(routing_key=external_host("online"), body=body, message_id=event_id)
        await tx.commit()


def logged(database: Any) -> list[tuple[Any, str]]:
    rows = database.rows(
        "SELECT position, convert_from(body, 'UTF8')::jsonb ->> 'server_id' AS server FROM outbox"
        " WHERE position IS NOT NULL ORDER BY position"
    )
    return [(row["position"], row["server"]) for row in rows]


async def test_events_get_their_places_in_the_order_in_which_they_are_published(
    relay: Relay, uow: Any, database: Any
) -> None:
    async with uow() as late:
        early_id = new_id()
        body = HostEvent(server_id=1, status="online", event_id=early_id, occurred_at=NOW)
        late.outbox.add_external(routing_key=external_host("online"), body=body, message_id=early_id)
        await late.flush()  # it has the lower id and commits later
        await announce(uow, 2, 3)
        await relay.drain()
        await late.commit()
    await announce(uow, *range(4, 500))
    await relay.drain()

    assert [server for _, server in logged(database)] == ["2", "3", "1", *map(str, range(4, 500))]


async def test_what_was_not_published_has_no_place_and_neither_has_a_command(
    relay: Relay, uow: Any, database: Any
) -> None:
    async with uow() as tx:
        tx.outbox.add_command(routing_key=command_stop(1), body=StopSession(session_id=1))
        await tx.commit()
    await announce(uow, 1)
    assert logged(database) == []
    await relay.drain()
    assert [server for _, server in logged(database)] == ["1"]


async def test_only_the_newest_events_are_kept_and_places_are_never_given_twice(
    relay: Relay, uow: Any, database: Any
) -> None:
    await announce(uow, *range(1, 11))
    await relay.drain()
    assert await settled_messages.sweep(uow, NOW, timedelta(days=1), 3) == 7
    assert [server for _, server in logged(database)] == ["8", "9", "10"]
    (last, _) = logged(database)[-1]
    assert await settled_messages.sweep(uow, NOW + timedelta(days=3650), timedelta(days=1), 3) == 3
    await announce(uow, 11)
    await relay.drain()
    assert logged(database) == [(last + 1, "11")]


async def test_events_about_a_deployment_are_numbered_without_gaps_whatever_is_rolled_back(
    uow: Any, database: Any
) -> None:
    async def tell(*sgc_ids: int, keep: bool = True) -> None:
        async with uow() as tx:
            for sgc_id in sgc_ids:
                event_id = new_id()
                body = SessionEvent(session_id=1, sgc_id=sgc_id, status="running", event_id=event_id, occurred_at=NOW)
                tx.outbox.add_external(
                    routing_key=external_session("running"), body=body, message_id=event_id, sgc_id=sgc_id
                )
            await (tx.commit() if keep else tx.flush())

    await tell(4, 7, 4)
    await tell(4, 4, 7, keep=False)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(tell(7, 4, 4))

    told: dict[int, list[int]] = {4: [], 7: []}
    for row in database.rows("SELECT convert_from(body, 'UTF8') AS body FROM outbox ORDER BY id"):
        event = decode(SessionEvent, row["body"].encode())
        told[event.sgc_id].append(event.sequence)
    assert told == {4: [*range(1, 23)], 7: [*range(1, 12)]}


async def test_an_event_that_is_published_again_says_so_and_has_its_old_id(
    relay: Relay, uow: Any, amqp_url: str
) -> None:
    await announce(uow, 1, 2)
    await relay.drain()
    onlooker = Onlooker(amqp_url)
    await onlooker.subscribe("subscriber", "external", "manman.#")
    async with uow() as tx:
        (_, second) = await tx.event_log.after(0, limit=10)
        await tx.event_log.replay([second.position])
        await tx.commit()
    await relay.drain()

    (message,) = await onlooker.take_all("subscriber")

    assert (message.message_id, message.routing_key) == (str(second.message_id), second.routing_key)
    assert message.headers[dead_letters.REPLAYED]
