"""A virtual host of the real broker per test, and a way to look at it from outside our own code."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from manman.bus.connection import Connection, connect
from manman.bus.publisher import Publisher
from manman.settings import BusSettings
from manman_devstack.onlooker import Onlooker


@pytest.fixture
def outside(amqp_url: str) -> Onlooker:
    return Onlooker(amqp_url)


@pytest.fixture
def bus_settings(amqp_url: str) -> BusSettings:
    return BusSettings(rabbitmq_url=SecretStr(amqp_url))


@pytest.fixture
async def connection(bus_settings: BusSettings) -> AsyncIterator[Connection]:
    async with connect(bus_settings, "test") as kept:
        yield kept


@pytest.fixture
async def publisher(connection: Connection) -> AsyncIterator[Publisher]:
    async with Publisher(connection) as made:
        yield made
