"""The platform for people: `up`, `down`, `status`, `clean` and `prepare`, on this machine, in `.devstack`.

`up` may be called again at any time: it leaves alone what runs as it should, starts what does not, and restarts a
service whose code or settings changed. `down` ends everything that `up` started and keeps data and images; `clean`
throws those away too. `prepare` does what takes long before tests: it installs system packages and builds images.
"""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from manman_devstack import (
    apt,
    browser,
    containers,
    daemons,
    databases,
    debian_base,
    docker_engine,
    firewall,
    images,
    object_store,
    parts,
    postgres,
    private_engine,
    rabbitmq,
    services,
    stack,
)
from manman_devstack.home import REPOSITORY, Home, main_home

_DATABASE = "manman"
_INFRASTRUCTURE = (rabbitmq.NAME, f"{rabbitmq.NAME}-mapper", object_store.NAME, postgres.NAME)

# What people can do something about: the text says what.
PROBLEMS = (
    apt.CannotInstallError,
    daemons.NotReadyError,
    debian_base.CannotMakeBaseError,
    images.BuildError,
    postgres.ProgramMissingError,
    private_engine.NoEngineError,
    databases.MigrationError,
    firewall.FirewallError,
)


def environment_name() -> str:
    """Return the environment of this checkout's platform, by which its containers are told from another one's."""
    return f"dev-{hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:4]}"


def up() -> int:
    """Start whatever does not run; print where everything is."""
    home = main_home()
    started = time.monotonic()
    infrastructure = _start_infrastructure(home)
    print("migrating the database", flush=True)
    databases.migrate(infrastructure.database_url)
    ports = stack.choose_ports(home, usual=True)
    place = stack.Place(environment_name(), "my-machine", home.short_folder("host"), images.WRAPPER)
    environments = stack.environments(infrastructure, ports, place)
    print(f"starting {', '.join(environments)}", flush=True)
    _start_services(home, environments)
    (home.path / "stack.env").write_text(stack.stack_env(infrastructure, ports))
    print(f"\nManMan runs ({time.monotonic() - started:.0f} s).\n")
    _print_addresses(infrastructure, ports)
    return 0


def down() -> int:
    """End everything that `up` started, in the reverse order; return when it is gone."""
    home = main_home()
    if not home.path.exists():
        print("nothing runs")
        return 0
    services.stop_all({name: services.daemon(home, name, {}) for name in reversed(stack.SERVICES)})
    engine = docker_engine.first_reachable(home)
    if engine is not None:
        docker_engine.remove_labelled(engine, _labels())
        docker_engine.remove_labelled(engine, containers.labels(home))
    _in_parallel(
        lambda: daemons.end_process(home, rabbitmq.NAME, signal.SIGTERM, 20.0),
        lambda: daemons.end_process(home, object_store.NAME, signal.SIGTERM, 10.0),
        lambda: daemons.end_process(home, postgres.NAME, signal.SIGINT, 20.0),
    )
    daemons.end_process(home, f"{rabbitmq.NAME}-mapper", signal.SIGTERM, 5.0)
    parts.end_abandoned_runs()
    if not parts.tests_run():
        docker_engine.end_private(home)
    shutil.rmtree(home.run / "ports", ignore_errors=True)
    (home.path / "stack.env").unlink(missing_ok=True)
    print("everything that `make up` started has ended; databases and images are kept (`make clean` throws them away)")
    return 0


def status() -> int:
    """Print what runs; return 0 when everything that `up` starts does."""
    home = main_home()
    names = (*_INFRASTRUCTURE, private_engine.NAME, *stack.SERVICES)
    rows = [(name, daemons.running_pid(home, name)) for name in names]
    for name, pid in rows:
        print(f"  {name:<18} {f'runs, process {pid}' if pid else 'not started here'}")
    stack_env = home.path / "stack.env"
    if stack_env.exists():
        print(f"\n{stack_env.read_text()}", end="")
    return 0 if all(pid for name, pid in rows if name in stack.SERVICES) else 1


def clean() -> int:
    """End everything, then delete databases, images and logs."""
    home = main_home()
    engine = docker_engine.first_reachable(home)
    down()
    if engine is not None and private_engine.answers(engine):
        docker_engine.remove_labelled(engine, _labels(), volumes=True)
    if parts.tests_run():
        print("tests are running: their folders stay")
        return 1
    postgres.remove_data(home)
    host_data = home.path / "host"
    if host_data.is_symlink():
        shutil.rmtree(host_data.resolve(), ignore_errors=True)
    home.remove()
    return 0


def prepare() -> int:
    """Install and build what the tests need; an engine that had to be started for that is ended again."""
    parts.install_programs()
    browser.ensure()
    home = main_home()
    engine = docker_engine.ensure(home)
    try:
        _in_parallel(
            lambda: images.ensure_wrapper(engine.address),
            lambda: _build_games(engine.address),
        )
    finally:
        if engine.started:
            docker_engine.end_private(home)
    return 0


def _start_infrastructure(home: Home) -> stack.Infrastructure:
    """Start the Docker engine, then everything else at once; the images are built meanwhile."""
    with ThreadPoolExecutor(max_workers=6) as pool:
        engine = docker_engine.ensure(home)
        store = pool.submit(_object_store, home)
        parts.install_programs()
        wrapper = pool.submit(images.ensure_wrapper, engine.address)
        games = pool.submit(_build_games, engine.address)
        database = pool.submit(_database, home)
        broker = pool.submit(parts.rabbitmq, home)
        found = stack.Infrastructure(database.result(), broker.result().url, store.result(), engine.address)
        wrapper.result()
        games.result()
    return found


def _database(home: Home) -> str:
    server = parts.postgres(home)
    if not server.ours:
        return server.url
    with psycopg.connect(server.url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
    return databases.with_database(server.url, _DATABASE)


def _object_store(home: Home) -> object_store.ObjectStore:
    store = parts.object_store(home)
    object_store.make_bucket(store)
    return store


def _build_games(address: str) -> None:
    for name in images.game_names():
        images.ensure_game(address, name)


def _start_services(home: Home, environments: Mapping[str, Mapping[str, str]]) -> None:
    found = {name: services.daemon(home, name, environment) for name, environment in environments.items()}
    wanted = {name: _fingerprint(name, environment) for name, environment in environments.items()}
    outdated = {
        name: service
        for name, service in found.items()
        if service.pid is not None and home.read_note(f"{name}.fingerprint") != {"of": wanted[name]}
    }
    services.stop_all(outdated)
    for name, fingerprint in wanted.items():
        home.write_note(f"{name}.fingerprint", {"of": fingerprint})
    services.start_all(found, environments)


def _fingerprint(name: str, environment: Mapping[str, str]) -> str:
    text = json.dumps([services.code_hash(name), sorted(environment.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _labels() -> list[str]:
    return [f"manman.environment={environment_name()}"]


def _print_addresses(infrastructure: stack.Infrastructure, ports: stack.Ports) -> None:
    rows = [
        ("web UI", f"http://127.0.0.1:{ports.ui}"),
        ("REST API", f"http://127.0.0.1:{ports.rest}   (documentation: /docs)"),
        ("gRPC API", f"127.0.0.1:{ports.grpc}"),
        ("RabbitMQ", infrastructure.amqp_url),
        ("Postgres", infrastructure.database_url),
        ("object store", infrastructure.object_store.endpoint),
        ("Docker engine", infrastructure.docker_host),
        ("game ports", ports.games),
        ("variables", str(main_home().path / "stack.env")),
        ("logs", str(main_home().logs)),
    ]
    for name, value in rows:
        print(f"  {name:<14} {value}")
    print("\n`make demo` plays a game server through it, `make down` ends it.")


def _in_parallel(*tasks: Callable[[], object]) -> None:
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
