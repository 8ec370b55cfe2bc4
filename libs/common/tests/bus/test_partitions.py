"""A queue can be divided by hosts: everything of one host stays together, and a broker that cannot do it says so."""

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.consumer import consume_batches
from manman.bus.delivery import Delivery
from manman.bus.publisher import Publisher
from manman.errors import Conflict, Unavailable
from manman.messages import dead_letters, routing
from manman.settings import BusSettings
from manman_devstack import rabbitmq
from manman_devstack.eventually import eventually
from manman_devstack.home import Home
from manman_devstack.onlooker import Onlooker
from manman_devstack.rabbitmq import PrivateRabbitmq

HOSTS = range(1, 41)
KEYS = ("status.host", "status.session", "health.host")


def queues(count: int) -> list[topology.Queue]:
    return topology.event_partitions(routing.PROCESSOR_EVENTS, routing.PROCESSOR_EVENT_KEYS, count)


async def declare(connection: Connection, count: int) -> list[topology.Queue]:
    divided = queues(count)
    await topology.declare_queue(connection, divided[0])
    return divided


async def say(connection: Connection, hosts: Sequence[int], *, with_header: bool = True) -> None:
    """Let every host say one thing under each key."""
    async with Publisher(connection) as publisher:
        for number, key in enumerate(KEYS):
            for host in hosts:
                await publisher.publish(
                    routing.EXCHANGE,
                    f"{key}.{host + 1000 * number}",
                    b"%d %d" % (host, number),
                    message_id=str(uuid.uuid4()),
                    headers=routing.said_by(host) if with_header else None,
                    mandatory=True,
                )


async def taken(connection: Connection, divided: Sequence[topology.Queue], count: int) -> dict[str, dict[int, str]]:
    """Take `count` messages; return by queue what each host said in it, in order."""
    heard: dict[str, dict[int, str]] = {queue.name: defaultdict(str) for queue in divided}
    total = 0

    def taker(name: str) -> object:
        async def take(batch: list[Delivery]) -> Sequence[None]:
            nonlocal total
            for delivery in batch:
                host, number = delivery.body.decode().split()
                heard[name][int(host)] += number
            total += len(batch)
            return [None] * len(batch)

        return take

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(consume_batches(connection, one, taker(one.name))) for one in divided]  # type: ignore[arg-type] # it is the handler
        with contextlib.suppress(asyncio.CancelledError):
            await eventually(lambda: total >= count)
        for task in tasks:
            task.cancel()
    assert total == count
    return heard


async def test_all_that_a_host_says_is_in_one_partition_in_order_and_hosts_are_spread(connection: Connection) -> None:
    divided = await declare(connection, 4)
    await say(connection, HOSTS)
    heard = await taken(connection, divided, len(KEYS) * len(HOSTS))
    assert sorted(host for hosts in heard.values() for host in hosts) == list(HOSTS)
    assert {said for hosts in heard.values() for said in hosts.values()} == {"012"}
    assert all(heard.values())


async def test_what_does_not_say_its_host_is_together_in_one_partition(connection: Connection) -> None:
    divided = await declare(connection, 4)
    await say(connection, HOSTS, with_header=False)
    heard = await taken(connection, divided, len(KEYS) * len(HOSTS))
    assert sorted(len(hosts) for hosts in heard.values()) == [0, 0, 0, len(HOSTS)]


async def test_a_queue_in_one_part_is_the_queue_itself(connection: Connection) -> None:
    whole = topology.event_queue(routing.PROCESSOR_EVENTS, routing.PROCESSOR_EVENT_KEYS)
    assert queues(1) == [whole]
    assert len(await declare(connection, 1)) == 1


async def test_what_a_partition_cannot_digest_is_among_the_dead_letters_of_the_whole(
    connection: Connection, amqp_url: str
) -> None:
    divided = await declare(connection, 2)

    async def refuse(batch: list[Delivery]) -> Sequence[Exception]:
        return [Conflict("no") for _ in batch]

    await say(connection, [7])
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(consume_batches(connection, one, refuse)) for one in divided]
        onlooker, dead = Onlooker(amqp_url), routing.dead_letter_queue(routing.PROCESSOR_EVENTS)

        async def all_dead() -> None:
            assert await onlooker.depth(dead) == len(KEYS)

        await eventually(all_dead)
        for task in tasks:
            task.cancel()
    assert {str(one.headers[dead_letters.REASON]) for one in await onlooker.take_all(dead)} == {"Conflict"}


async def test_a_partition_that_was_deleted_is_declared_with_the_others(connection: Connection, amqp_url: str) -> None:
    divided = await declare(connection, 4)
    for queue in divided:
        await Onlooker(amqp_url).delete(queue.name)
    await topology.declare_queue(connection, divided[3])
    await say(connection, HOSTS)
    await taken(connection, divided, len(KEYS) * len(HOSTS))


@pytest.mark.timeout(120)
async def test_a_broker_that_starts_again_loses_nothing_and_keeps_what_a_host_says_from_then_on_together(
    private_rabbitmq: PrivateRabbitmq,
) -> None:
    """Which partition that is may be another one than before (ADR 0028)."""
    settings = BusSettings(rabbitmq_url=SecretStr(private_rabbitmq.url))
    async with connect(settings, "before") as connection:
        divided = await declare(connection, 7)
        await say(connection, HOSTS)
    await asyncio.to_thread(private_rabbitmq.stop)
    await asyncio.to_thread(private_rabbitmq.start)
    async with connect(settings, "after") as connection:
        kept = await taken(connection, divided, len(KEYS) * len(HOSTS))
        await say(connection, HOSTS)
        later = await taken(connection, divided, len(KEYS) * len(HOSTS))
    for heard in (kept, later):
        assert sorted(host for hosts in heard.values() for host in hosts) == list(HOSTS)
        assert {said for hosts in heard.values() for said in hosts.values()} == {"012"}


@pytest.fixture
def broker_without_plugin(devstack_home: Home) -> PrivateRabbitmq:
    name = f"rabbitmq-{uuid.uuid4().hex[:8]}"
    broker = rabbitmq.prepare(devstack_home, name)
    (devstack_home.data(name) / "enabled_plugins").write_text("[rabbitmq_management].\n")
    return broker


@pytest.mark.timeout(120)
async def test_a_broker_without_the_plugin_is_told_by_its_name(broker_without_plugin: PrivateRabbitmq) -> None:
    await asyncio.to_thread(broker_without_plugin.start)
    try:
        async with connect(BusSettings(rabbitmq_url=SecretStr(broker_without_plugin.url)), "test") as connection:
            with pytest.raises(Unavailable, match="rabbitmq_consistent_hash_exchange"):
                await declare(connection, 4)
            await connection.wait_up(10)
            assert len(await declare(connection, 1)) == 1
    finally:
        broker_without_plugin.kill()
        broker_without_plugin.mapper.kill()
