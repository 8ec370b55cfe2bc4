"""Base images for a machine that reaches no image registry, made from the machine's own Debian mirror.

They get the names that our Dockerfiles use, so that a Dockerfile does not know which of the two it stands on. The
certificate authorities that this machine trusts locally are trusted inside as well: package downloads in a build need
them.
"""

import io
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import docker

from manman_devstack import apt

DEBIAN = "debian:bookworm-slim"
PYTHON = "python:3.11-slim-bookworm"

_SUITE = "bookworm"
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")

_PYTHON_ON_DEBIAN = f"""
FROM {DEBIAN}
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-pip ca-certificates \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python3"]
"""


class CannotMakeBaseError(RuntimeError):
    """A base image can be neither pulled nor made; the text says what is missing."""


def make_debian(client: docker.DockerClient) -> None:
    """Make `debian:bookworm-slim` from packages and import it (about 20 s)."""
    if not (apt.is_debian() and os.geteuid() == 0):
        raise CannotMakeBaseError(f"cannot pull {DEBIAN}, and only root on Debian can make it: pull it by hand")
    apt.install_missing({"mmdebstrap": shutil.which("mmdebstrap") is not None})
    command = bootstrap_command(apt.mirror_lines(_SUITE), apt.proxy_options(), sorted(_LOCAL_AUTHORITIES.glob("*.crt")))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bootstrap:
        tree, problems = bootstrap.communicate()
    if bootstrap.returncode != 0:
        raise CannotMakeBaseError(f"mmdebstrap failed:\n{problems.decode(errors='replace')[-3000:]}")
    name, tag = DEBIAN.split(":")
    client.api.import_image_from_data(
        tree,
        repository=name,
        tag=tag,
        changes=[
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8",
            'CMD ["bash"]',
            "LABEL dev.manman.devstack.made-from=debian-packages",
        ],
    )


def make_python(client: docker.DockerClient) -> None:
    """Make `python:3.11-slim-bookworm` on top of the Debian base (about 15 s)."""
    client.images.build(fileobj=io.BytesIO(_PYTHON_ON_DEBIAN.encode()), tag=PYTHON, rm=True, forcerm=True)


def bootstrap_command(sources: Sequence[str], proxies: Sequence[str], authorities: Sequence[Path]) -> list[str]:
    """Return the command that writes a small Debian tree, as a tar archive, to its standard output."""
    options = ['Dir::Cache::pkgcache "";', 'Dir::Cache::srcpkgcache "";', *proxies]
    unwanted = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
    command = ["mmdebstrap", "--quiet", "--variant=apt", "--format=tar", "--include=ca-certificates"]
    command += [f"--aptopt={option}" for option in options]
    command += [f"--dpkgopt=path-exclude={path}" for path in unwanted]
    if authorities:
        files = " ".join(f"'{path}'" for path in authorities)
        command.append(f"--customize-hook=copy-in {files} /usr/local/share/ca-certificates")
        command.append('--customize-hook=chroot "$1" update-ca-certificates >/dev/null')
    return [*command, _SUITE, "-", *sources]


def image_exists(client: docker.DockerClient, name: str) -> bool:
    """Return whether the engine has an image of that name."""
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def pull(client: docker.DockerClient, name: str) -> bool:
    """Return whether the image could be pulled."""
    repository, tag = name.rsplit(":", 1)
    try:
        client.images.pull(repository, tag=tag)
    except docker.errors.APIError:
        return False
    return True


def label(client: docker.DockerClient, name: str, key: str) -> str | None:
    """Return a label of an image, or None when there is no such image or label."""
    try:
        return cast("dict[str, str]", client.images.get(name).labels).get(key)
    except docker.errors.ImageNotFound:
        return None
