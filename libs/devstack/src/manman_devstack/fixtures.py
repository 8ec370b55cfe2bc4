"""Pytest fixtures that give each test the real parts it needs, alone with them.

Where the environment names a server (PG_DATABASE_URL, RABBITMQ_URL, S3_ENDPOINT, DOCKER_HOST), that one is used; else
a private instance is started once per run and ended with it. Databases, virtual hosts and buckets are made fresh for
each test. Tests that stop or kill a server ask for `private_postgres`, `private_rabbitmq` or `private_docker`, which
nobody else uses.
"""

import secrets
from collections.abc import Iterator

import pytest

from manman_devstack import databases, docker_engine, parts, postgres, private_engine, rabbitmq, vhosts
from manman_devstack import object_store as object_stores
from manman_devstack.home import Home
from manman_devstack.object_store import ObjectStore
from manman_devstack.postgres import PrivatePostgres
from manman_devstack.private_engine import PrivateEngine
from manman_devstack.rabbitmq import PrivateRabbitmq
from manman_devstack.stack import Infrastructure


@pytest.fixture(scope="session")
def devstack_home() -> Iterator[Home]:
    """Give the folder of this run's private instances; everything started in it is ended after the last test."""
    home = parts.own_run_home()
    yield home
    parts.end_run(home)


@pytest.fixture(scope="session")
def postgres_url(devstack_home: Home) -> str:
    """Give the maintenance database of the server that the tests of this run share."""
    return parts.postgres(devstack_home).url


@pytest.fixture(scope="session")
def rabbitmq_urls(devstack_home: Home) -> parts.Broker:
    """Give the broker that the tests of this run share: its AMQP and its management URL."""
    return parts.rabbitmq(devstack_home)


@pytest.fixture(scope="session")
def object_store_server(devstack_home: Home) -> ObjectStore:
    """Give the S3 server that the tests of this run share."""
    return parts.object_store(devstack_home)


@pytest.fixture(scope="session")
def docker_host(devstack_home: Home) -> str:  # noqa: ARG001 - the run that it ends with
    """Give the address of a Docker engine (`unix://...`): the first that answers, else the private one of `make up`."""
    return parts.docker()


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> str:
    """Give the name of the migrated template database."""
    return databases.migrated_template(postgres_url)


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """Give a database of the newest schema without a row in it (`postgresql://`)."""
    with databases.fresh_database(postgres_url, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Give a database without a table in it (`postgresql://`)."""
    with databases.fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def amqp_url(rabbitmq_urls: parts.Broker) -> Iterator[str]:
    """Give a virtual host without an exchange or queue of ours in it (`amqp://`)."""
    with vhosts.fresh_vhost(rabbitmq_urls.url, rabbitmq_urls.management_url) as url:
        yield url


@pytest.fixture
def object_store(object_store_server: ObjectStore) -> Iterator[ObjectStore]:
    """Give an S3 server with an empty bucket of the test's own."""
    with object_stores.fresh_bucket(object_store_server) as store:
        yield store


@pytest.fixture
def private_postgres(devstack_home: Home) -> Iterator[PrivatePostgres]:
    """Give a Postgres server that is this test's alone, to stop, kill and freeze."""
    server = postgres.prepare(devstack_home, f"postgres-{secrets.token_hex(4)}")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def private_rabbitmq(devstack_home: Home) -> Iterator[PrivateRabbitmq]:
    """Give a broker that is this test's alone, to stop, kill and freeze; it takes about five seconds to come up."""
    broker = rabbitmq.prepare(devstack_home, f"rabbitmq-{secrets.token_hex(4)}")
    broker.start()
    yield broker
    broker.kill()
    broker.mapper.kill()


@pytest.fixture
def private_docker(devstack_home: Home, request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """Give a Docker engine that is this test's alone, to stop and kill; its parameter: whether with live restore."""
    engine = private_engine.prepare(devstack_home, live_restore=getattr(request, "param", True))
    engine.start()
    yield engine
    docker_engine.end_private(devstack_home)


@pytest.fixture
def infrastructure(database_url: str, amqp_url: str, object_store: ObjectStore, docker_host: str) -> Infrastructure:
    """Give what a platform stands on: a database, a virtual host and a bucket of its own, and the Docker engine."""
    return Infrastructure(database_url, amqp_url, object_store, docker_host)
