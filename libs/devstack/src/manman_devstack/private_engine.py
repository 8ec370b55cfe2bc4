"""A private Docker engine: own socket, data, bridge and address pools, beside any engine that already runs.

Containers outlive a restart of it (live restore), unless it is told otherwise.

Two things would harm another engine on the machine, and never
happen here: a second engine with `--bridge none` deletes the first one's bridge, and a second one with iptables on
flushes the first one's chains. So beside another engine ours leaves iptables alone, and the few rules it needs are
made, and removed, here.
"""

import contextlib
import hashlib
import ipaddress
import os
import platform
import shutil
import socket as sockets
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from manman_devstack import apt, firewall
from manman_devstack.daemons import Daemon
from manman_devstack.home import Home, started_at

NAME = "docker"

_PING = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Unix socket paths end at 108 bytes, and the engine appends to ours.
_LONGEST_HOME = 55
# Below the usual 1500: a virtual machine's own network often carries less, and large packets would vanish.
_MTU = 1400


class NoEngineError(RuntimeError):
    """There is no Docker engine and none can be started here; the text says what to do."""


@dataclass(frozen=True)
class Network:
    """The addresses of a private engine: its bridge's, and those that its user networks are cut from."""

    bridge: str
    bridge_address: str
    pool: str

    @property
    def bridge_network(self) -> str:
        """The network of the bridge (`address/bits`)."""
        return str(ipaddress.ip_interface(self.bridge_address).network)


@dataclass(frozen=True)
class PrivateEngine:
    """An engine of ours."""

    daemon: Daemon
    address: str

    def start(self) -> None:
        """Start it and return when it answers; one that was killed left things that would keep it from starting."""
        if self.daemon.pid is None:
            _pid_file(self.daemon.home).unlink(missing_ok=True)
            _forget_dead_containerd(_short_folder(self.daemon.home))
        self.daemon.start()
        self.daemon.wait_ready(self.answers, 60.0)

    def answers(self) -> bool:
        """Return whether it answers a ping within two seconds."""
        return answers(self.address)


def answers(address: str) -> bool:
    """Return whether a Docker engine at this address answers a ping within two seconds."""
    parts = urlsplit(address)
    try:
        with sockets.socket(sockets.AF_UNIX if parts.scheme == "unix" else sockets.AF_INET) as connection:
            connection.settimeout(2.0)
            connection.connect(parts.path if parts.scheme == "unix" else (parts.hostname, parts.port or 2375))
            connection.sendall(_PING)
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def address(home: Home) -> str:
    """Return where the private engine of that home listens."""
    return f"unix://{_short_folder(home) / 'docker.sock'}"


def prepare(home: Home, *, live_restore: bool = True) -> PrivateEngine:
    """Install what is missing, make the bridge and the rules; the engine itself is not started.

    Without `live_restore` its containers end with it.
    """
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers: start Docker, or set DOCKER_HOST")
    apt.install_missing(
        {
            "docker.io": _installed("dockerd"),
            "iptables": _installed("iptables"),
            "iproute2": _installed("ip"),
        }
    )
    network = _network(home)
    beside_another = another_engine_runs(home)
    _make_bridge(network)
    rules = firewall.ways_out([network.bridge_network, network.pool]) if beside_another else []
    firewall.add(rules)
    _note_traces(home, network, rules, "" if beside_another else firewall.forward_policy())
    folder = _short_folder(home)
    command = engine_command(
        socket=folder / "docker.sock",
        data=home.data(NAME),
        runtime=folder / "docker-exec",
        pid_file=_pid_file(home),
        network=network,
        beside_another=beside_another,
        live_restore=live_restore,
    )
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
    return PrivateEngine(Daemon(name=NAME, home=home, command=command, environment={"PATH": path}), address(home))


def engine_command(
    *,
    socket: Path,
    data: Path,
    runtime: Path,
    pid_file: Path,
    network: Network,
    beside_another: bool,
    live_restore: bool = True,
) -> list[str]:
    """Return the command line of the engine; without touching iptables when another engine runs."""
    command = ["dockerd", "-H", f"unix://{socket}", "--data-root", str(data), "--exec-root", str(runtime)]
    command += ["--pidfile", str(pid_file), "--bridge", network.bridge, "--mtu", str(_MTU)]
    command += ["--live-restore"] if live_restore else []
    command += ["--default-address-pool", f"base={network.pool},size=26"]
    if beside_another:
        command += ["--iptables=false", "--ip6tables=false", "--ip-masq=false"]
    return command


def choose_network(seed: str, taken: Iterable[str], *, beside_another: bool) -> Network:
    """Return addresses that overlap nothing in `taken` (networks as `address/bits`).

    Beside another engine the search starts elsewhere for each seed, because that engine takes more of its pools later.
    """
    number = int(hashlib.sha256(seed.encode()).hexdigest()[:6], 16)
    used = [ipaddress.ip_network(net, strict=False) for net in taken]
    first = 201 if not beside_another else 202 + number % 30
    pool = _first_free([f"10.{first + step}.0.0/16" for step in range(20)], used)
    bridge = _first_free([f"172.30.{100 + (number + step) % 150}.0/24" for step in range(150)], used)
    return Network(f"mmd{number:06x}", f"{bridge[1]}/{bridge.prefixlen}", str(pool))


def another_engine_runs(home: Home) -> bool:
    """Return whether an engine that is not ours runs on this machine, or left its bridge."""
    own = f"--data-root {home.path / NAME} "
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        # Where nobody collects ended processes, an engine of ours that ended is still listed.
        ended = process.info["status"] == psutil.STATUS_ZOMBIE
        if process.info["name"] == "dockerd" and not ended and own not in " ".join(process.info["cmdline"] or []):
            return True
    return Path("/sys/class/net/docker0").exists()


def has_traces(home: Home) -> bool:
    """Return whether a private engine was prepared in this home and its traces were not removed since."""
    return home.read_note("docker.network") is not None


def remove_traces(home: Home) -> None:
    """Remove bridge, rules and mounts of the private engine; it must have ended. Its data (the images) stay."""
    note = home.read_note("docker.network")
    if note is None:
        return
    firewall.remove(note["rules"] if isinstance(note["rules"], list) else [])
    if note["forward_policy"] and not another_engine_runs(home):
        firewall.remove_engine_chains(str(note["bridge"]), str(note["forward_policy"]))
    subprocess.run(["ip", "link", "delete", str(note["bridge"])], capture_output=True, check=False, env=_environment())
    folder = _short_folder(home)
    _end_orphaned_shims(folder / "docker-exec")
    unmount_below(home.path / NAME)
    unmount_below(folder / "docker-exec")
    shutil.rmtree(folder / "docker-exec", ignore_errors=True)
    (folder / "docker.sock").unlink(missing_ok=True)
    if folder != home.path:
        with contextlib.suppress(OSError):
            folder.rmdir()
    home.remove_note("docker.network")


def unmount_below(folder: Path) -> None:
    """Unmount everything that is mounted on or in a folder, the innermost first."""
    with Path("/proc/self/mounts").open() as mounts:
        points = [line.split(" ")[1].encode().decode("unicode_escape") for line in mounts]
    for point in sorted((point for point in points if f"{point}/".startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False, env=_environment())


def _note_traces(home: Home, network: Network, rules: list[firewall.Rule], forward_policy: str) -> None:
    """Remember what to undo, together with what an earlier start that did not end in order left."""
    earlier = home.read_note("docker.network") or {"rules": [], "forward_policy": ""}
    note = {
        "bridge": network.bridge,
        "rules": [*earlier["rules"], *rules] if isinstance(earlier["rules"], list) else rules,
        "forward_policy": earlier["forward_policy"] or forward_policy,
    }
    home.write_note("docker.network", note)


def _forget_dead_containerd(folder: Path) -> None:
    """Remove the pid file of a containerd that was killed: the engine would wait for that process to answer."""
    pid_file = folder / "docker-exec/containerd/containerd.pid"
    with contextlib.suppress(FileNotFoundError, ValueError):
        if started_at(int(pid_file.read_text())) is None:
            pid_file.unlink()


def _end_orphaned_shims(runtime: Path) -> None:
    """End what holds containers of an engine that is no more; with it end the containers."""
    for process in psutil.process_iter(["name", "cmdline"]):
        command = process.info["cmdline"] or []
        if "containerd-shim" in (process.info["name"] or "") and any(str(runtime) in word for word in command):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in [*process.children(recursive=True), process]:
                    child.kill()


def _network(home: Home) -> Network:
    addresses = [
        f"{found.address}/{found.netmask}"
        for interface in psutil.net_if_addrs().values()
        for found in interface
        if found.family.name == "AF_INET" and found.netmask
    ]
    network = choose_network(str(home.path), [], beside_another=False)
    # The bridge of an earlier start is no obstacle for the next.
    own = [f"{found.address}/{found.netmask}" for found in psutil.net_if_addrs().get(network.bridge, [])]
    taken = [taken for taken in addresses if taken not in own]
    return choose_network(str(home.path), taken, beside_another=another_engine_runs(home))


def _first_free(
    candidates: Sequence[str], used: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> ipaddress.IPv4Network:
    for text in candidates:
        candidate = ipaddress.IPv4Network(text)
        if not any(net.version == candidate.version and candidate.overlaps(net) for net in used):
            return candidate
    raise NoEngineError("no free private network for a Docker engine: all of 10.201.0.0/16 and on are in use")


def _make_bridge(network: Network) -> None:
    if not Path(f"/sys/class/net/{network.bridge}").exists():
        _ip("link", "add", network.bridge, "type", "bridge")
        _ip("addr", "add", network.bridge_address, "dev", network.bridge)
    _ip("link", "set", network.bridge, "up")


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, env=_environment())
    if result.returncode != 0:
        raise NoEngineError(f"`ip {' '.join(arguments)}` failed: {result.stderr}")


def _environment() -> dict[str, str]:
    return {"PATH": _SYSTEM_PATH}


def _installed(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}") is not None


def _pid_file(home: Home) -> Path:
    return home.run / "docker-engine.pid"


def _short_folder(home: Home) -> Path:
    if len(str(home.path)) <= _LONGEST_HOME:
        return home.path
    return Path(f"/run/manman-{hashlib.sha256(str(home.path).encode()).hexdigest()[:8]}")
