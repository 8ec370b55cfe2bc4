"""A private RabbitMQ from the installed server programs: own node name, ports, cookie, data and port mapper.

It listens on 127.0.0.1 only. It goes around the distribution's start scripts, which insist on the system's own
folders and account. Virtual hosts inside it are the business of `vhosts`.
"""

import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from manman_devstack.daemons import Daemon
from manman_devstack.home import Home
from manman_devstack.postgres import ProgramMissingError
from manman_devstack.private_server import PrivateServer

NAME = "rabbitmq"

_PLUGINS = ("management", "consistent_hash_exchange", "stream", "prometheus")


@dataclass(frozen=True)
class PrivateRabbitmq(PrivateServer):
    """One broker of ours, with its port mapper (epmd)."""

    home: Home
    daemon: Daemon
    mapper: Daemon
    port: int
    management_port: int

    @property
    def url(self) -> str:
        """Where its default virtual host is (`amqp://`)."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def management_url(self) -> str:
        """Where its management API is."""
        return f"http://guest:guest@127.0.0.1:{self.management_port}"

    def start(self) -> None:
        """Start it and return when it accepts AMQP clients (about five seconds)."""
        self.mapper.start()
        self.daemon.start()
        self.daemon.wait_ready(self.is_ready, 90.0)

    def stop(self) -> None:
        """End it in order (about six seconds), and its port mapper."""
        self.daemon.stop(signal.SIGTERM, 30.0)
        self.mapper.stop()

    def is_ready(self) -> bool:
        """Return whether its AMQP and management ports answer."""
        return answers(self.port) and accepts(self.management_port)


def prepare(home: Home, name: str = NAME) -> PrivateRabbitmq:
    """Return the private broker of this home, its configuration written; it is not started."""
    programs = find_programs()
    mapper_program = shutil.which("epmd") or next(map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd")), None)
    if programs is None or mapper_program is None:
        raise ProgramMissingError(
            "no RabbitMQ server found: install rabbitmq-server (Debian: apt-get install rabbitmq-server)"
        )
    folder = home.data(name)
    ports = {key: home.port(f"{name}-{key}") for key in ("amqp", "mapper", "nodes", "management", "metrics", "stream")}
    environment = _environment(folder, name, ports)
    _write_configuration(folder, ports)
    mapper = Daemon(
        name=f"{name}-mapper",
        home=home,
        command=[mapper_program, "-port", str(ports["mapper"]), "-address", "127.0.0.1"],
        folder=folder,
    )
    daemon = Daemon(
        name=name,
        home=home,
        command=[str(programs / "rabbitmq-server")],
        environment=environment,
        folder=folder,
        inherits_environment=False,
    )
    return PrivateRabbitmq(home, daemon, mapper, ports["amqp"], ports["management"])


def find_programs() -> Path | None:
    """Return the folder with the plain `rabbitmq-server` script, or None."""
    places = [Path("/usr/lib/rabbitmq/bin"), *Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin")]
    on_path = shutil.which("rabbitmq-server")
    if on_path is not None and not on_path.startswith("/usr/sbin"):
        places.append(Path(on_path).resolve().parent)
    return next((place for place in places if (place / "rabbitmq-server").exists()), None)


def answers(port: int) -> bool:
    """Return whether an AMQP server on this port of 127.0.0.1 greets a client."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
            probe.settimeout(2.0)
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(probe.recv(1))
    except OSError:
        return False


def accepts(port: int) -> bool:
    """Return whether something listens on this TCP port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _environment(folder: Path, name: str, ports: dict[str, int]) -> dict[str, str]:
    # The node's name is also its identity in the port mapper, which is ours alone: it needs no more than to be fixed.
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": f"{name}@localhost",
        "RABBITMQ_NODE_PORT": str(ports["amqp"]),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(ports["nodes"]),
        "ERL_EPMD_PORT": str(ports["mapper"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "schema"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def _write_configuration(folder: Path, ports: dict[str, int]) -> None:
    for sub in ("home", "mnesia", "log", "schema"):
        (folder / sub).mkdir(exist_ok=True)
    plugins = ",".join(f"rabbitmq_{plugin}" for plugin in _PLUGINS)
    (folder / "enabled_plugins").write_text(f"[{plugins}].\n")
    (folder / "rabbitmq.conf").write_text(
        f"management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {ports['management']}\n"
        f"prometheus.tcp.ip = 127.0.0.1\n"
        f"prometheus.tcp.port = {ports['metrics']}\n"
        f"stream.listeners.tcp.1 = 127.0.0.1:{ports['stream']}\n"
        "vm_memory_high_watermark.relative = 0.3\n"
        "disk_free_limit.absolute = 1GB\n"
        "log.console = true\n"
        "log.file = false\n"
    )


def control(broker: PrivateRabbitmq, *arguments: str) -> str:
    """Run `rabbitmqctl` against the private broker and return what it printed."""
    programs = find_programs()
    if programs is None:
        raise ProgramMissingError("rabbitmqctl is not installed")
    environment = dict(broker.daemon.environment)
    return subprocess.run(
        [str(programs / "rabbitmqctl"), *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout
