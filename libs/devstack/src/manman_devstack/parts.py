"""The parts of the infrastructure, each from the first source that there is.

The sources, in order: the URL in the environment; a container, when a
Docker engine is there and can pull; a private instance from installed programs; the same after installing Debian
packages.

What comes from the environment is used and never started, stopped or cleaned.
"""

import atexit
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from manman_devstack import apt, containers, daemons, databases, docker_engine, vhosts
from manman_devstack import home as homes
from manman_devstack import object_store as object_stores
from manman_devstack import postgres as postgreses
from manman_devstack import rabbitmq as rabbitmqs
from manman_devstack.home import Home
from manman_devstack.object_store import ObjectStore
from manman_devstack.postgres import PrivatePostgres
from manman_devstack.rabbitmq import PrivateRabbitmq
from manman_devstack.stack import Infrastructure

# Notes that tests started the private engine; several runs may share it, and the last one ends it.
_TESTS_ENGINE = "engine-of-tests"


@dataclass(frozen=True)
class Database:
    """A Postgres server; `ours` unless the environment named it, `private` when we can stop and kill it."""

    url: str
    private: PrivatePostgres | None = None
    ours: bool = True


@dataclass(frozen=True)
class Broker:
    """A RabbitMQ broker; `private` when it is ours to stop and kill."""

    url: str
    management_url: str
    private: PrivateRabbitmq | None = None


def install_programs() -> None:
    """Install, in one go, the Debian packages that private instances will need on this machine; mostly none."""
    engine = docker_engine.first_reachable(homes.main_home())
    wanted: dict[str, bool] = {}
    if not os.environ.get("PG_DATABASE_URL") and not _pulls(engine, containers.POSTGRES_IMAGE):
        wanted["postgresql"] = postgreses.find_programs() is not None
    if not os.environ.get("RABBITMQ_URL") and not _pulls(engine, containers.RABBITMQ_IMAGE):
        wanted["rabbitmq-server"] = rabbitmqs.find_programs() is not None
    apt.install_missing(wanted)


def postgres(home: Home) -> Database:
    """Return a Postgres server that answers."""
    given = os.environ.get("PG_DATABASE_URL")
    if given:
        return Database(given, ours=False)
    engine = docker_engine.first_reachable(homes.main_home())
    if engine is not None and _pulls(engine, containers.POSTGRES_IMAGE):
        return Database(containers.start_postgres(engine, home))
    apt.install_missing({"postgresql": postgreses.find_programs() is not None})
    server = postgreses.prepare(home)
    server.start()
    return Database(server.url, server)


def rabbitmq(home: Home) -> Broker:
    """Return a broker that answers."""
    given = os.environ.get("RABBITMQ_URL")
    if given:
        return Broker(given, os.environ.get("RABBITMQ_MANAGEMENT_URL") or vhosts.management_url_for(given))
    engine = docker_engine.first_reachable(homes.main_home())
    if engine is not None and _pulls(engine, containers.RABBITMQ_IMAGE):
        return Broker(*containers.start_rabbitmq(engine, home))
    apt.install_missing({"rabbitmq-server": rabbitmqs.find_programs() is not None})
    broker = rabbitmqs.prepare(home)
    broker.start()
    return Broker(broker.url, broker.management_url, broker)


def object_store(home: Home) -> ObjectStore:
    """Return an S3 server that answers."""
    given = os.environ.get("S3_ENDPOINT")
    if given:
        return ObjectStore(
            given,
            os.environ.get("S3_BUCKET", object_stores.BUCKET),
            os.environ.get("S3_ACCESS_KEY", ""),
            os.environ.get("S3_SECRET_KEY", ""),
        )
    server = object_stores.prepare(home)
    server.start()
    return server.store


def own_run_home() -> Home:
    """Return the home of this run of tests; everything in it ends with this process at the latest."""
    home = Home(homes.main_home().path / "runs" / str(os.getpid()))
    if not homes.owned_by_us(home):
        end_abandoned_runs()
        homes.write_owner(home)
        # After a hard interruption even this does not run: then the next run of tests ends what is left.
        atexit.register(end_run, home)
    return home


def docker() -> str:
    """Return the address of a Docker engine that answers; one started for this ends with the last run of tests."""
    engine = docker_engine.ensure()
    if engine.started:
        homes.main_home().write_note(_TESTS_ENGINE, {"address": engine.address})
    return engine.address


@contextmanager
def fresh(home: Home) -> Iterator[Infrastructure]:
    """Give a database, a virtual host and a bucket of their own, and the Docker engine; delete them afterwards."""
    server, broker = postgres(home), rabbitmq(home)
    template = databases.migrated_template(server.url)
    with (
        databases.fresh_database(server.url, template) as database_url,
        vhosts.fresh_vhost(broker.url, broker.management_url) as amqp_url,
        object_stores.fresh_bucket(object_store(home)) as store,
    ):
        yield Infrastructure(database_url, amqp_url, store, docker())


def end_abandoned_runs() -> None:
    """End what test runs left behind that did not come to their end."""
    for folder in (homes.main_home().path / "runs").glob("*"):
        if not homes.owner_lives(Home(folder)):
            end_run(Home(folder))


def end_run(home: Home) -> None:
    """End every process of this home and remove it."""
    if not home.path.exists():
        return
    docker_engine.end_private(home)
    for name in daemons.names_of_processes(home):
        daemons.end_process(home, name, signal.SIGKILL, 10.0)
    _remove_containers(home)
    for link in home.path.iterdir():
        if link.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(link.resolve(), ignore_errors=True)
    home.remove()
    main = homes.main_home()
    if main.read_note(_TESTS_ENGINE) is not None and not (main.path / "stack.env").exists() and not tests_run():
        main.remove_note(_TESTS_ENGINE)
        docker_engine.end_private(main)


def tests_run() -> bool:
    """Return whether tests of this checkout are running."""
    return any(homes.owner_lives(Home(folder)) for folder in (homes.main_home().path / "runs").glob("*"))


def _remove_containers(home: Home) -> None:
    engine = docker_engine.first_reachable(homes.main_home())
    if engine is not None:
        docker_engine.remove_labelled(engine, containers.labels(home), volumes=True)


def _pulls(engine: str | None, image: str) -> bool:
    return engine is not None and containers.can_pull(engine, image)
