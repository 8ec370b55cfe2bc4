from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika

from manman.bus.topology import declare_log_stream
from manman.domain.sessions import Status
from manman.messages.routing import log_stream
from manman_devstack.onlooker import amqp
from manman_processor.sweeps import log_streams

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def exists(amqp_url: str, session_id: int) -> bool:
    async with amqp(amqp_url) as connection:
        try:
            await (await connection.channel()).declare_queue(log_stream(session_id), passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
    return True


async def test_the_stream_of_an_ended_session_goes_after_a_while_and_that_of_a_live_one_stays(
    *, uow: Any, world: Any, broker: Any, database: Any, amqp_url: str
) -> None:
    ended, live = await world.session(Status.STOPPED), await world.session(Status.RUNNING)
    for session_id in (ended, live):
        await declare_log_stream(broker, session_id)
    assert await log_streams.sweep(uow, broker, NOW + DAY, DAY) == 0
    assert await log_streams.sweep(uow, broker, NOW + DAY + timedelta(seconds=1), DAY) == 1
    assert not await exists(amqp_url, ended)
    assert await exists(amqp_url, live)
    assert database.session(ended)["log_stream_deleted_at"] is not None
    assert await log_streams.sweep(uow, broker, NOW + 2 * DAY, DAY) == 0


async def test_a_stream_that_is_gone_already_is_no_error(uow: Any, world: Any, broker: Any) -> None:
    await world.session(Status.CRASHED)
    assert await log_streams.sweep(uow, broker, NOW + 2 * DAY, DAY) == 1


async def test_the_stream_of_a_session_that_was_deleted_with_its_deployment_goes_too(
    *, uow: Any, world: Any, broker: Any, database: Any, amqp_url: str
) -> None:
    session_id = await world.session(Status.STOPPED)
    await declare_log_stream(broker, session_id)
    async with uow() as tx:
        await tx.deployments.delete(database.session(session_id)["sgc_id"])
        await tx.commit()
    assert await log_streams.sweep(uow, broker, NOW, DAY) == 1
    assert not await exists(amqp_url, session_id)
    assert await log_streams.sweep(uow, broker, NOW, DAY) == 0
