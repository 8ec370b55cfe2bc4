import asyncio

import pytest

from manman.background import running
from manman.bus import topology
from manman.bus.connection import Connection
from manman.bus.consumer import consume
from manman.bus.delivery import Delivery
from manman.bus.requests import Requests
from manman.errors import Conflict, TimedOut, Unavailable
from manman.messages.routing import command_send_input
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker

KEY = command_send_input(5)


async def test_each_caller_gets_its_own_answer_also_when_it_is_no(connection: Connection) -> None:
    queue = await topology.declare_host_command_queue(connection, 5)

    async def handler(delivery: Delivery) -> None:
        if delivery.body == b"bad":
            raise Conflict("the session is stopped")

    async with running(consume(connection, queue, handler, concurrency=8), "host"), Requests(connection) as requests:
        good, bad = await asyncio.gather(requests.call(KEY, b"good"), requests.call(KEY, b"bad"))
    assert (good.success, good.error) == (True, "")
    assert (bad.success, bad.error) == (False, "the session is stopped")


async def test_a_host_that_never_had_a_queue_is_told_at_once(connection: Connection) -> None:
    async with Requests(connection) as requests, asyncio.timeout(3):
        with pytest.raises(Unavailable, match="no command queue"):
            await requests.call(KEY, b"x", timeout_s=30)


async def test_no_answer_is_a_time_out_and_the_request_does_not_wait_for_a_later_host(
    connection: Connection, outside: Onlooker
) -> None:
    await topology.declare_host_command_queue(connection, 5)
    async with Requests(connection) as requests:
        with pytest.raises(TimedOut):
            await requests.call(KEY, b"x", timeout_s=0.3)
        await eventually(lambda: is_empty(outside))


async def is_empty(outside: Onlooker) -> bool:
    return await outside.depth("host-5-commands") == 0
