"""A connection that cannot be made, or not be closed in time, leaves nothing behind."""

import asyncio
import gc

import pytest
from aio_pika.exceptions import ChannelPreconditionFailed
from pydantic import SecretStr

from manman.bus.connection import Connection, broker_errors, close_quietly, connect
from manman.errors import Conflict, Unavailable
from manman.health import Health
from manman.settings import BusSettings
from manman_devstack.eventually import eventually


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("queue 'logs.session.1' does not have a replica on the local node", Unavailable),
        ("inequivalent arg 'x-queue-type' for queue 'logs.session.1'", Conflict),
    ],
)
async def test_a_stream_that_is_just_being_made_is_asked_for_again(said: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="consuming"), broker_errors("consuming logs.session.1"):
        raise ChannelPreconditionFailed(f"PRECONDITION_FAILED - {said}")


async def collect() -> None:
    """Collect garbage where no event loop runs: the client's `__del__` then starts what nobody awaits."""
    await asyncio.to_thread(gc.collect)


async def test_attempts_that_were_refused_leave_no_connection_to_close() -> None:
    component = Health().component("broker")
    settings = BusSettings(rabbitmq_url=SecretStr("amqp://guest:guest@127.0.0.1:1/"))
    async with connect(settings, "refused", component=component, wait=False):
        await eventually(lambda: "connecting" in (component.reason or ""))
    await collect()


async def test_an_attempt_that_was_given_up_leaves_no_connection_to_close() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await _reader.read()
        writer.close()

    asked = asyncio.Event()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = BusSettings(rabbitmq_url=SecretStr(f"amqp://guest:guest@127.0.0.1:{port}/"))
        async with connect(settings, "silent", wait=False):
            await asked.wait()
    await collect()


@pytest.mark.parametrize("steps", range(12))
async def test_who_is_cancelled_while_a_channel_closes_keeps_the_connection(connection: Connection, steps: int) -> None:
    channel = await connection.open_channel()
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(close_quietly(channel))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_closing = closing.cancel()
    assert closing.cancelled() == was_closing
    async with connection.channel() as other:
        await other.declare_queue(exclusive=True)
    assert connection.is_up


async def test_a_cancellation_that_the_client_answers_with_an_error_is_still_one() -> None:
    async def work() -> None:
        with broker_errors("waiting"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                raise ChannelPreconditionFailed("PRECONDITION_FAILED") from error

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_a_call_that_the_client_cancels_is_unavailable_even_to_who_was_cancelled_before() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(Unavailable, match="went away"), broker_errors("saying good-bye"):
                raise asyncio.CancelledError from None
            raise

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
