"""The flight: messages are settled in the order in which they were sent, and nothing behind a lost one counts."""

import asyncio

from manman.bus.publisher import Result, Unroutable
from manman.db.outbox import Unpublished
from manman.errors import Unavailable
from manman_processor.flight import MAX_ROWS, ROOM, Flight

LOST = Unavailable("the broker failed")
RETURNED = Unroutable("manman", "command.host.1.start")


def row(row_id: int) -> Unpublished:
    return Unpublished(
        id=row_id,
        message_id=str(row_id),
        exchange="external",
        routing_key="manman.session.running",
        body=b"{}",
        mandatory=False,
        session_id=None,
        expires_at=None,
        replay_of=None,
        trace=None,
    )


def send(flight: Flight, *row_ids: int) -> asyncio.Future[list[Result]]:
    results: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
    flight.sent([row(row_id) for row_id in row_ids], results)
    return results


async def test_what_is_under_way_is_neither_read_again_nor_marked() -> None:
    flight = Flight()
    send(flight, 1, 2)
    flight.settle()
    look = flight.look()
    assert (flight.confirmed, look.in_flight, look.limit) == ([], [1, 2], MAX_ROWS - 2)


async def test_waves_are_settled_in_the_order_in_which_they_were_sent() -> None:
    flight = Flight()
    first, second = send(flight, 1, 2), send(flight, 3)
    second.set_result([None])
    flight.settle()
    assert flight.confirmed == []
    first.set_result([None, None])
    flight.settle()
    assert flight.confirmed == [1, 2, 3]
    assert flight.is_empty


async def test_nothing_behind_a_lost_message_counts_as_sent_even_if_the_broker_has_it() -> None:
    flight = Flight()
    first, second = send(flight, 1, 2, 3), send(flight, 4)
    first.set_result([None, LOST, None])
    flight.settle()
    second.set_result([None])
    flight.settle()
    assert flight.confirmed == [1]
    assert flight.held_because == str(LOST)
    assert not flight.has_room
    assert flight.look().limit == 0


async def test_a_message_that_nobody_takes_holds_up_no_other() -> None:
    flight = Flight()
    send(flight, 1, 2).set_result([RETURNED, None])
    flight.settle()
    assert flight.confirmed == [2]
    assert [why for _, why in flight.failed.values()] == [
        "the host has no queue: it never connected, or its queue was removed"
    ]
    assert 1 in flight.look().in_flight  # until it is recorded


async def test_what_is_confirmed_is_not_read_again_before_it_is_marked() -> None:
    flight = Flight()
    send(flight, 1).set_result([None])
    flight.settle()
    send(flight, 2).set_result([None])
    assert sorted(flight.look().in_flight) == [1, 2]
    flight.settle()
    flight.marked(1)
    assert (flight.confirmed, flight.look().in_flight) == ([2], [2])


async def test_what_one_flight_could_not_mark_the_next_one_does() -> None:
    flight = Flight()
    send(flight, 1).set_result([None])
    flight.settle()
    assert Flight(flight.confirmed).look().in_flight == [1]


async def test_no_more_is_read_than_may_be_under_way() -> None:
    flight = Flight()
    wave = send(flight, *range(MAX_ROWS - ROOM + 1))
    assert not flight.has_room
    wave.set_result([None] * (MAX_ROWS - ROOM + 1))
    flight.settle()
    assert flight.has_room
