"""The database or the broker dies under the processor: it waits, and no report and no event is lost."""

import asyncio
import socket
from typing import Any

import aio_pika
import psycopg
import pytest

from manman.background import running
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.messages.codec import encode
from manman.messages.status import SessionReported
from manman_devstack import databases
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import amqp
from manman_devstack.postgres import PrivatePostgres
from manman_devstack.rabbitmq import PrivateRabbitmq
from manman_processor import app
from manman_processor.settings import Settings

pytestmark = pytest.mark.timeout(180)


def settings(database_url: str, amqp_url: str) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    read = Settings(pg_database_url=database_url, rabbitmq_url=amqp_url)  # type: ignore[arg-type] # pydantic converts
    return read.model_copy(
        update={"health_check_port": port, "health_check_host": "127.0.0.1", "outbox_poll_seconds": 0.2}
    )


async def sessions(url: str, count: int) -> list[int]:
    made = []
    async with connected(settings(url, "amqp://localhost")) as engine, UnitOfWork(engine)() as tx:
        server = await tx.servers.add(name="host", status="online")
        game = await tx.games.add(name="OpenTTD")
        for index in range(count):
            config = await tx.configs.add(game_id=game.game_id, name=str(index), image="i")
            row = await tx.deployments.add(server_id=server.server_id, game_config_id=config.config_id)
            made.append((await tx.sessions.add(sgc_id=row.sgc_id, now=server.created_at)).session_id)
        await tx.commit()
    return made


def statuses(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {status for (status,) in connection.execute("SELECT status FROM sessions")}


def unpublished(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM outbox WHERE published_at IS NULL").fetchone()
    return row[0] if row else -1


async def say(url: str, session_ids: list[int], status: str) -> None:
    async with amqp(url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("manman")
        for session_id in session_ids:
            body = encode(SessionReported(session_id=session_id, status=status))
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, f"status.session.{session_id}")


async def subscribe(url: str) -> None:
    async with amqp(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("external", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("subscriber", durable=True)
        await queue.bind(exchange, routing_key="manman.#")


async def heard(url: str) -> set[str]:
    """Return the ids of all events so far, each once."""
    ids = set()
    async with amqp(url) as connection:
        queue = await (await connection.channel()).get_queue("subscriber")
        while (message := await queue.get(fail=False)) is not None:
            ids.add(str(message.message_id))
    return ids


async def consuming(url: str) -> bool:
    async with amqp(url) as connection:
        try:
            queue = await (await connection.channel()).declare_queue("processor-events", passive=True)
        except aio_pika.exceptions.ChannelClosed:
            return False
        return bool(queue.declaration_result.consumer_count)


async def test_reports_wait_for_a_database_that_was_killed(private_postgres: PrivatePostgres, amqp_url: str) -> None:
    url = private_postgres.url
    await asyncio.to_thread(databases.migrate, url)
    ids = await sessions(url, 40)
    await subscribe(amqp_url)
    async with running(app.main(settings(url, amqp_url)), "processor"):
        await eventually(lambda: consuming(amqp_url), timeout_s=30)
        await say(amqp_url, ids[:20], "running")
        private_postgres.kill()
        await say(amqp_url, ids[20:], "running")
        await asyncio.to_thread(private_postgres.start)
        await eventually(lambda: statuses(url) == {"running"}, timeout_s=60)
        await eventually(lambda: unpublished(url) == 0, timeout_s=30)
    assert len(await heard(amqp_url)) == 40


async def test_events_wait_for_a_broker_that_was_killed(database_url: str, private_rabbitmq: PrivateRabbitmq) -> None:
    broker = private_rabbitmq.url
    ids = await sessions(database_url, 20)
    async with running(app.main(settings(database_url, broker)), "processor"):
        await eventually(lambda: consuming(broker), timeout_s=30)
        await subscribe(broker)
        await say(broker, ids, "starting")
        await eventually(lambda: statuses(database_url) == {"starting"}, timeout_s=30)
        await asyncio.to_thread(private_rabbitmq.restart)
        await eventually(lambda: _says(broker, ids), timeout_s=60)
        await eventually(lambda: statuses(database_url) == {"running"}, timeout_s=60)
        await eventually(lambda: unpublished(database_url) == 0, timeout_s=30)
    assert len(await heard(broker)) == 20


async def _says(url: str, ids: list[int]) -> Any:
    """Report as soon as the broker takes it; a repetition changes nothing."""
    try:
        await say(url, ids, "running")
    except (OSError, aio_pika.exceptions.AMQPError):
        return False
    return True
