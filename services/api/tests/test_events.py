"""The log of external events over gRPC and REST: who was away catches up, and misses nothing."""

import asyncio
import json
from typing import Any

import grpc
import httpx2
import pytest

from manman import clock
from manman.identifiers import new_id
from manman.messages.external import HostEvent, SessionEvent
from manman.messages.routing import external_host, external_session
from manman.v1 import events_pb2 as pb
from manman.v1 import events_pb2_grpc
from manman_api.handlers import events as handler

Code = grpc.StatusCode


@pytest.fixture
def events(api: Any) -> Any:
    return events_pb2_grpc.EventsStub(api.channel)


async def publish(uow: Any, *bodies: HostEvent | SessionEvent) -> list[str]:
    """Do what a change and then the relay do with the events of the change."""
    ids: list[str] = []
    async with uow() as tx:
        for body in bodies:
            ids.append(new_id())
            key = external_host(body.status) if isinstance(body, HostEvent) else external_session(body.status)
            tx.outbox.add_external(routing_key=key, body=body, message_id=ids[-1])
        await tx.commit()
    async with uow() as tx:
        waiting = [row.id for row in await tx.outbox.unpublished(limit=10_000)]
    await uow.waiting.mark(waiting, now=clock.now())
    return ids


def host(server_id: int, status: str = "online") -> HostEvent:
    return HostEvent(server_id=server_id, status=status, event_id=new_id(), occurred_at=clock.now())


def session(session_id: int, status: str, *, sgc_id: int = 4, server_id: int = 1) -> SessionEvent:
    return SessionEvent(
        session_id=session_id,
        sgc_id=sgc_id,
        status=status,
        server_id=server_id,
        event_id=new_id(),
        occurred_at=clock.now(),
    )


async def test_who_was_away_reads_on_where_it_ended_in_the_order_of_publishing(events: Any, uow: Any) -> None:
    await publish(uow, *(host(number) for number in range(1, 6)))
    seen: list[int] = []
    position = 0
    while True:
        answer = await events.ListEvents(pb.ListEventsRequest(after_position=position, page_size=2))
        seen += [json.loads(event.body)["server_id"] for event in answer.events]
        position = answer.last_position
        assert not answer.forgotten
        if not answer.more:
            break
    assert seen == [1, 2, 3, 4, 5]
    (told,) = await publish(uow, host(6))
    answer = await events.ListEvents(pb.ListEventsRequest(after_position=position))
    (event,) = answer.events
    assert (event.event_id, event.routing_key) == (told, "manman.host.online")
    assert event.published_at > 0
    again = await events.ListEvents(pb.ListEventsRequest(after_position=answer.last_position))
    assert (list(again.events), again.last_position, again.more) == ([], answer.last_position, False)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"routing_keys": ["manman.session.crashed", "manman.host.#"]}, ["h1", "s11"]),
        ({"server_id": 1}, ["h1", "s10", "s11"]),
        ({"sgc_id": 5}, ["s12"]),
        ({"session_id": 10}, ["s10"]),
        ({"server_id": 1, "routing_keys": ["manman.session.*"]}, ["s10", "s11"]),
        ({"session_id": 99}, []),
    ],
)
async def test_events_are_found_by_key_host_deployment_and_session(
    events: Any, uow: Any, wanted: Any, found: list[str]
) -> None:
    await publish(
        uow,
        host(1),
        session(10, "running"),
        session(11, "crashed"),
        session(12, "lost", sgc_id=5, server_id=2),
    )

    answer = await events.ListEvents(pb.ListEventsRequest(filter=pb.EventFilter(**wanted)))

    bodies = [json.loads(event.body) for event in answer.events]
    assert [f"s{body['session_id']}" if "session_id" in body else f"h{body['server_id']}" for body in bodies] == found
    assert not answer.more
    assert answer.last_position == 4


async def test_a_filter_that_lets_little_through_looks_at_a_part_and_says_how_far(
    events: Any, uow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "LOOKED_AT_IN_ONE_CALL", 3)
    await publish(uow, *(host(number) for number in range(1, 9)))
    found, position, calls = [], 0, 0
    while True:
        request = pb.ListEventsRequest(after_position=position, filter=pb.EventFilter(server_id=8))
        answer = await events.ListEvents(request)
        found += list(answer.events)
        position, calls = answer.last_position, calls + 1
        if not answer.more:
            break
    assert (len(found), calls, position) == (1, 3, 8)


async def test_who_was_away_for_too_long_is_told_so(events: Any, uow: Any) -> None:
    await publish(uow, *(host(number) for number in range(1, 6)))
    async with uow() as tx:
        assert await tx.event_log.delete_oldest(keep=2, limit=100) == 3
        await tx.commit()

    async def forgotten(after: int) -> bool:
        told: bool = (await events.ListEvents(pb.ListEventsRequest(after_position=after))).forgotten
        return told

    assert [await forgotten(after) for after in (2, 3, 4, 5)] == [True, False, False, False]
    async with uow() as tx:
        await tx.outbox.delete_settled(before=clock.now(), limit=100)
        await tx.commit()
    assert [await forgotten(after) for after in (4, 5)] == [True, False]


async def waiting(uow: Any) -> list[Any]:
    """Return what the relay would publish now."""
    async with uow() as tx:
        return list(await tx.outbox.unpublished(limit=10_000))


async def test_events_are_published_again_in_order_with_their_ids(events: Any, uow: Any) -> None:
    ids = await publish(uow, *(host(number) for number in range(1, 6)))

    answer = await events.ReplayEvents(pb.ReplayEventsRequest(from_position=2, to_position=4))

    assert (answer.replayed, answer.last_position, answer.more) == (3, 4, False)
    again = await waiting(uow)
    assert [row.replay_of for row in again] == [str(one) for one in ids[1:4]]
    assert [json.loads(row.body)["server_id"] for row in again] == [2, 3, 4]
    assert {(row.exchange, row.routing_key) for row in again} == {("external", "manman.host.online")}


async def test_what_is_published_again_is_not_in_the_log_twice(events: Any, uow: Any) -> None:
    await publish(uow, host(1), host(2))
    await events.ReplayEvents(pb.ReplayEventsRequest(from_position=1))
    await publish(uow)  # the relay publishes what waits
    assert await waiting(uow) == []
    answer = await events.ListEvents(pb.ListEventsRequest())
    assert [event.position for event in answer.events] == [1, 2]


async def test_publishing_again_can_be_narrowed_and_goes_on_where_it_ended(
    events: Any, uow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_SIZE", 2)
    await publish(uow, *(session(number, "running", sgc_id=number % 2) for number in range(1, 7)))
    wanted = pb.EventFilter(sgc_id=1)

    first = await events.ReplayEvents(pb.ReplayEventsRequest(from_position=1, filter=wanted))
    assert (first.replayed, first.last_position, first.more) == (2, 3, True)
    second = await events.ReplayEvents(pb.ReplayEventsRequest(from_position=first.last_position + 1, filter=wanted))
    assert (second.replayed, second.more) == (1, False)

    assert [json.loads(row.body)["session_id"] for row in await waiting(uow)] == [1, 3, 5]


async def test_a_reader_beside_a_busy_relay_misses_nothing(events: Any, uow: Any) -> None:
    seen: list[int] = []
    done = asyncio.Event()

    async def read() -> None:
        position = 0
        while True:
            last_time = done.is_set()
            answer = await events.ListEvents(pb.ListEventsRequest(after_position=position, page_size=7))
            seen.extend(json.loads(event.body)["server_id"] for event in answer.events)
            position = answer.last_position
            if last_time and not answer.more:
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for start in range(1, 200, 5):
            await publish(uow, *(host(number) for number in range(start, start + 5)))
        done.set()
    assert seen == list(range(1, 201))


async def test_the_same_is_served_as_rest(api: Any, uow: Any) -> None:
    await publish(uow, host(1), session(10, "crashed"))
    base = f"http://127.0.0.1:{api.addresses.rest}/v1"
    async with httpx2.AsyncClient(trust_env=False) as client:
        query = {"filter.routing_keys": "manman.session.#", "after_position": "0"}
        listing = (await client.get(f"{base}/events", params=query)).json()
        request = {"from_position": "1", "filter": {"sgc_id": "4"}}
        replayed = (await client.post(f"{base}/events:replay", json=request)).json()

    assert [json.loads(event["body"])["session_id"] for event in listing["events"]] == [10]
    assert listing["last_position"] == "2"
    assert replayed["replayed"] == 1
    assert len(await waiting(uow)) == 1


async def test_a_replay_says_where_it_begins(api: Any, events: Any) -> None:
    code, text = await api.refusal(events.ReplayEvents(pb.ReplayEventsRequest()))
    assert (code, "from_position" in text) == (Code.INVALID_ARGUMENT, True)
