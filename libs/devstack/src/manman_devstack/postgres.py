"""A private Postgres from the installed server programs, and the marks by which one is recognised as ready.

It listens on 127.0.0.1 only, trusts every caller, and keeps its data under the home. It runs as an unprivileged
account when we are root, because the server refuses root. Databases inside it are the business of `databases`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from manman_devstack.daemons import Daemon
from manman_devstack.home import Home
from manman_devstack.private_server import PrivateServer

NAME = "postgres"

_SETTINGS = """
# a commit is one call to the system, not two, and on disk all the same
wal_sync_method = open_datasync
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 128MB
max_connections = 300
log_line_prefix = '%m [%p] %d '
"""


class ProgramMissingError(RuntimeError):
    """A program that a private instance needs is not installed; the text says what to install."""


@dataclass(frozen=True)
class PrivatePostgres(PrivateServer):
    """One server of ours."""

    home: Home
    daemon: Daemon
    port: int

    @property
    def url(self) -> str:
        """Where the maintenance database is (`postgresql://`)."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and return when it answers; recovers by itself from a kill."""
        self.daemon.start()
        self.daemon.wait_ready(self.is_ready, 30.0)

    def stop(self) -> None:
        """End it in order: sessions are cut, everything is on disk."""
        self.daemon.stop(signal.SIGINT)

    def is_ready(self) -> bool:
        """Return whether it answers a query."""
        return answers(self.url)


def prepare(home: Home, name: str = NAME) -> PrivatePostgres:
    """Return the private server of this home, its data folder made when there is none; it is not started."""
    programs = find_programs()
    if programs is None:
        raise ProgramMissingError(
            "no Postgres server programs found: install postgresql (Debian: apt-get install postgresql)"
        )
    user = _account() if os.geteuid() == 0 else None
    folder = _folder_for(user, home, name)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(programs, folder, data, user)
    port = home.port(name)
    daemon = Daemon(
        name=name,
        home=home,
        command=[str(programs / "postgres"), "-D", str(data), "-p", str(port)],
        environment={"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder)},
        user=user,
        folder=folder,
        inherits_environment=False,
    )
    return PrivatePostgres(home, daemon, port)


def find_programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`, the newest version first, or None."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    folders = [path.parent for path in found]
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def answers(url: str) -> bool:
    """Return whether a server there answers a query within two seconds."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def remove_data(home: Home, name: str = NAME) -> None:
    """Delete the data folder of the private server, wherever it had to be; the server must have ended."""
    link = home.path / name
    if link.is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)
        link.unlink()
    else:
        shutil.rmtree(link, ignore_errors=True)


def _account() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ProgramMissingError("Postgres refuses to run as root, and there is neither a postgres nor a nobody account")


def _folder_for(user: str | None, home: Home, name: str) -> Path:
    """Return a folder that `user` owns and can reach; outside the home, and linked to, when that is closed."""
    folder = home.path / name
    if user is None:
        return home.data(name)
    if folder.is_symlink() and folder.resolve().is_dir():
        return folder.resolve()
    home.path.mkdir(parents=True, exist_ok=True)
    if not _can_reach(user, home.path):
        outside = Path(tempfile.mkdtemp(prefix="manman-devstack-postgres-", dir="/var/tmp"))
        folder.unlink(missing_ok=True)
        folder.symlink_to(outside)
        folder = outside
    folder.mkdir(exist_ok=True)
    shutil.chown(folder, user, user if user == "postgres" else None)
    folder.chmod(0o700)
    return folder


def _can_reach(user: str, folder: Path) -> bool:
    result = subprocess.run(["test", "-x", str(folder)], user=user, extra_groups=[], check=False, cwd="/")
    return result.returncode == 0


def _initialise(programs: Path, folder: Path, data: Path, user: str | None) -> None:
    shutil.rmtree(data, ignore_errors=True)
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
    result = subprocess.run(
        [*command, "--no-locale"],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder)},
        user=user,
        group=user,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(_SETTINGS)
