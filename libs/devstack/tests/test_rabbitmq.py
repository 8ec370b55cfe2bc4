"""The private RabbitMQ is a real one: what it confirmed survives."""

import aio_pika
import pytest

from manman_devstack import rabbitmq
from manman_devstack.onlooker import amqp
from manman_devstack.rabbitmq import PrivateRabbitmq

_QUEUE = "mark"


@pytest.mark.timeout(180)
async def test_confirmed_messages_survive_a_kill_and_a_restart(private_rabbitmq: PrivateRabbitmq) -> None:
    async with amqp(private_rabbitmq.url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(_QUEUE, durable=True)
        for number in range(100):
            body = aio_pika.Message(str(number).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(body, queue.name)

    rabbitmq.control(private_rabbitmq, "eval", "mnesia:sync_log().")  # what it declares is on the disk seconds later
    private_rabbitmq.kill()
    private_rabbitmq.start()
    assert await _count(private_rabbitmq.url) == 100

    private_rabbitmq.restart()
    assert await _count(private_rabbitmq.url) == 100


async def _count(url: str) -> int:
    async with amqp(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(_QUEUE, durable=True, passive=True)
        return queue.declaration_result.message_count or 0
