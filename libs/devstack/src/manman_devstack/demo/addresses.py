"""Where the platform is: what `make up` wrote to `.devstack/stack.env`."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

from manman_devstack.demo.failure import DemoError

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Addresses:
    """The parts that the demo talks to, and where their logs are (empty: nobody knows)."""

    rest: str
    ui: str
    rabbitmq_url: str
    docker_host: str
    logs: str


def read_addresses(stack_env: Path) -> Addresses:
    """Read the shell-sourceable file `stack_env`.

    Raises:
        DemoError: there is no such file, or an address is missing in it.
    """
    try:
        text = stack_env.read_text()
    except FileNotFoundError as error:
        raise DemoError(f"there is no {stack_env}: start the platform with `make up` first") from error
    values = dict(word.partition("=")[::2] for line in text.splitlines() for word in shlex.split(line, comments=True))
    names = ("MANMAN_REST", "MANMAN_UI", "RABBITMQ_URL", "DOCKER_HOST")
    missing = [name for name in names if not values.get(name)]
    if missing:
        raise DemoError(f"{stack_env} does not say {', '.join(missing)}: run `make up` again")
    rest, ui, rabbitmq_url, docker_host = (values[name] for name in names)
    return Addresses(rest.rstrip("/"), ui.rstrip("/"), rabbitmq_url, docker_host, str(stack_env.parent / "logs"))
