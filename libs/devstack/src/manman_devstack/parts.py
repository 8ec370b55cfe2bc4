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

from manman_devstack import daemons, vhosts
from manman_devstack import home as homes
from manman_devstack import object_store as object_stores
from manman_devstack import postgres as postgreses
from manman_devstack import rabbitmq as rabbitmqs
from manman_devstack.home import Home
from manman_devstack.object_store import ObjectStore
from manman_devstack.postgres import PrivatePostgres
from manman_devstack.rabbitmq import PrivateRabbitmq


@dataclass(frozen=True)
class Database:
    """A Postgres server; `private` when it is ours to stop and kill."""

    url: str
    private: PrivatePostgres | None = None


@dataclass(frozen=True)
class Broker:
    """A RabbitMQ broker; `private` when it is ours to stop and kill."""

    url: str
    management_url: str
    private: PrivateRabbitmq | None = None


def postgres(home: Home) -> Database:
    """Return a Postgres server that answers."""
    given = os.environ.get("PG_DATABASE_URL")
    if given:
        return Database(given)
    server = postgreses.prepare(home)
    server.start()
    return Database(server.url, server)


def rabbitmq(home: Home) -> Broker:
    """Return a broker that answers."""
    given = os.environ.get("RABBITMQ_URL")
    if given:
        return Broker(given, os.environ.get("RABBITMQ_MANAGEMENT_URL") or vhosts.management_url_for(given))
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


@contextmanager
def run_home() -> Iterator[Home]:
    """Give a home for one run of tests; end everything in it and remove it afterwards."""
    runs = homes.main_home().path / "runs"
    end_abandoned_runs()
    home = Home(runs / str(os.getpid()))
    homes.write_owner(home)
    # A run that is interrupted hard still gets here in most cases; the next run ends what is left of the others.
    atexit.register(end_run, home)
    try:
        yield home
    finally:
        end_run(home)


def end_abandoned_runs() -> None:
    """End what test runs left behind that did not come to their end."""
    for folder in (homes.main_home().path / "runs").glob("*"):
        if not homes.owner_lives(Home(folder)):
            end_run(Home(folder))


def end_run(home: Home) -> None:
    """End every process of this home and remove it."""
    if not home.path.exists():
        return
    for name in daemons.names_of_processes(home):
        daemons.end_process(home, name, signal.SIGKILL, 10.0)
    for link in home.path.iterdir():
        if link.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(link.resolve(), ignore_errors=True)
    home.remove()
