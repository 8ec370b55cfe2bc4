"""A viewer sees every line once, from where it asked, until the session's last one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from manman import clock
from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.publisher import Outgoing, Publisher
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages import routing
from manman.messages.codec import encode
from manman.messages.logs import LogLine
from manman.settings import BusSettings
from manman.v1 import logs_pb2


class Session:
    """A session whose host is this test."""

    def __init__(self, session_id: int, broker: Connection, publisher: Publisher, uow: Any) -> None:
        self.session_id = session_id
        self.broker = broker
        self.publisher = publisher
        self.uow = uow

    async def print(self, *texts: str) -> None:
        for number, text in enumerate(texts):
            line = LogLine(session_id=self.session_id, timestamp=1000 + number, source="stdout", message=text)
            await self.raw(encode(line))

    async def raw(self, body: bytes) -> None:
        key = routing.logs_session(self.session_id)
        await self.publisher.publish(routing.EXCHANGE, key, body, message_id="x", timeout_s=5)

    async def end(self) -> None:
        async with self.uow() as tx:
            row = await tx.sessions.lock(self.session_id)
            await transitions.apply(tx, row, Change(status=Status.STOPPED), now=clock.now())
            await tx.commit()


@pytest.fixture
async def session(amqp_url: str, uow: Any, new_session: Any) -> AsyncIterator[Session]:
    async with connect(BusSettings(rabbitmq_url=amqp_url), "test") as broker, Publisher(broker) as publisher:
        session_id = await new_session()
        await topology.declare_log_stream(broker, session_id)
        yield Session(session_id, broker, publisher, uow)


async def view(api: Any, session_id: int, *, after: int = 0, most: int = 1000) -> list[tuple[int, str]]:
    """Return what a viewer sees until the end, or `most` lines."""
    request = logs_pb2.StreamSessionLogsRequest(session_id=session_id, after_sequence_number=after)
    call = api.logs.StreamSessionLogs(request, timeout=20)
    seen: list[tuple[int, str]] = []
    async for line in call:
        seen.append((line.sequence_number, line.message))
        if len(seen) == most:
            call.cancel()
            break
    return seen


async def test_the_log_of_an_ended_session_is_shown_to_its_end(api: Any, session: Session) -> None:
    await session.print("a", "b", "c")
    await session.end()

    assert await view(api, session.session_id) == [(1, "a"), (2, "b"), (3, "c")]


async def test_a_viewer_goes_on_behind_the_line_it_saw_last(api: Any, session: Session) -> None:
    await session.print(*"abcde")

    first = await view(api, session.session_id, most=2)
    await session.end()

    assert first + await view(api, session.session_id, after=2) == list(enumerate("abcde", 1))


async def test_lines_arrive_while_the_session_lives_and_the_view_ends_with_it(api: Any, session: Session) -> None:
    viewing = asyncio.get_running_loop().create_task(view(api, session.session_id))
    await session.print("before")
    await view(api, session.session_id, most=1)
    await session.print("after")
    assert not viewing.done()

    await session.end()

    assert await viewing == [(1, "before"), (2, "after")]


async def test_a_viewer_may_come_before_the_stream_is_there(api: Any, session: Session) -> None:
    await topology.delete_log_stream(session.broker, session.session_id)
    viewing = asyncio.get_running_loop().create_task(view(api, session.session_id, most=1))
    await asyncio.wait([viewing], timeout=0.3)

    await topology.declare_log_stream(session.broker, session.session_id)
    await session.print("first")

    assert await viewing == [(1, "first")]


async def test_an_ended_session_without_a_stream_has_an_empty_log(api: Any, session: Session) -> None:
    await topology.delete_log_stream(session.broker, session.session_id)
    await session.end()

    assert await view(api, session.session_id) == []


async def test_an_unreadable_line_is_shown_as_such_and_stops_nobody(api: Any, session: Session) -> None:
    await session.print("a")
    await session.raw(b'{"session_id": 1, "mess')
    await session.print("b")
    await session.end()

    assert await view(api, session.session_id) == [(1, "a"), (2, "[one line could not be read]"), (3, "b")]


async def test_a_long_log_arrives_whole_and_in_order(api: Any, session: Session) -> None:
    texts = [str(number) for number in range(1500)]
    key = routing.logs_session(session.session_id)
    lines = [LogLine(session_id=session.session_id, timestamp=1, source="stdout", message=text) for text in texts]
    await session.publisher.publish_many(
        [Outgoing(exchange=routing.EXCHANGE, routing_key=key, body=encode(line), message_id="x") for line in lines]
    )
    await session.end()

    assert await view(api, session.session_id, most=2000) == list(enumerate(texts, 1))


@pytest.mark.parametrize(
    ("session_id", "code"), [(999, grpc.StatusCode.NOT_FOUND), (0, grpc.StatusCode.INVALID_ARGUMENT)]
)
async def test_an_unknown_session_is_refused(api: Any, session_id: int, code: grpc.StatusCode) -> None:
    async def read() -> None:
        await view(api, session_id)

    assert (await api.refusal(read()))[0] is code
