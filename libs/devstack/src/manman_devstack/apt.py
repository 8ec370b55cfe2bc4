"""What Debian's package manager can do for a bare machine: which packages are missing, and getting them.

The mirror and any proxy are the machine's own: no address is written here.
"""

import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_NO_SERVICES = Path("/usr/sbin/policy-rc.d")
_REFUSE = "#!/bin/sh\nexit 101\n"

# Parts start at the same time, and the package manager serves one caller.
_one_at_a_time = threading.Lock()


class CannotInstallError(RuntimeError):
    """System packages are missing and cannot be installed here; the text names them."""


def is_debian() -> bool:
    """Return whether this is Debian or a child of it."""
    return Path("/etc/debian_version").exists() and Path("/usr/bin/apt-get").exists()


def missing(present: Mapping[str, bool]) -> list[str]:
    """Return the packages of which the program is not there, in the given order."""
    return [package for package, there in present.items() if not there]


def decide(packages: Sequence[str], *, debian: bool, root: bool) -> list[list[str]]:
    """Return the commands that install the packages; none when nothing is missing.

    CannotInstallError, in one sentence for people, when this machine or account cannot do it.
    """
    if not packages:
        return []
    names = " ".join(packages)
    if not debian:
        raise CannotInstallError(f"please install {names} (by these names on Debian), or start Docker, or set the URLs")
    if not root:
        raise CannotInstallError(
            f"please run `apt-get install --no-install-recommends {names}` as root, or start Docker"
        )
    return [
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", *packages],
    ]


def install_missing(present: Mapping[str, bool]) -> None:
    """Install the packages whose programs are not there, without starting what they bring; say so first."""
    packages = missing(present)
    commands = decide(packages, debian=is_debian(), root=os.geteuid() == 0)
    if not commands:
        return
    print(f"installing Debian packages: {' '.join(packages)}", flush=True)
    # Services of these packages must not start: we run private instances. An existing policy is somebody's choice and
    # stays.
    with _one_at_a_time:
        own_policy = not _NO_SERVICES.exists()
        if own_policy:
            _NO_SERVICES.write_text(_REFUSE)
            _NO_SERVICES.chmod(0o755)
        try:
            for command in commands:
                _run(command)
        finally:
            if own_policy:
                _NO_SERVICES.unlink()


def mirror_lines(suite: str) -> list[str]:
    """Return one-line sources for that Debian suite, at the addresses that this machine's apt uses."""
    text = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"])
    return sources_for(suite, text)


def sources_for(suite: str, index_targets: str) -> list[str]:
    """Return one-line sources for `suite` out of lines of "address codename"; security is kept apart as Debian does."""
    lines: dict[str, None] = {}
    for line in index_targets.splitlines():
        address, _, codename = line.strip().partition(" ")
        if codename.endswith("-security"):
            lines[f"deb {address} {suite}-security main"] = None
        elif codename.endswith("-updates"):
            lines[f"deb {address} {suite}-updates main"] = None
        elif re.fullmatch(r"[a-z]+", codename):
            lines[f"deb {address} {suite} main"] = None
    if not any(line.endswith(f" {suite} main") for line in lines):
        raise CannotInstallError("apt on this machine names no Debian mirror: see /etc/apt/sources.list")
    return list(lines)


def proxy_options() -> list[str]:
    """Return the proxy settings of this machine's apt as lines of apt configuration."""
    dump = _run(["apt-config", "dump"])
    return [line for line in dump.splitlines() if re.match(r"Acquire::https?::Proxy\b", line)]


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        list(command), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise CannotInstallError(f"`{' '.join(command)}` failed:\n{(result.stdout + result.stderr)[-3000:]}")
    return result.stdout
