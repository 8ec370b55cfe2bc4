"""Readiness: how to tell that players can come to a running game, and that they still could.

A config says it with a pattern (a line of the game's output) or with a query (the game itself answers). Hosts look and
ask; here is what may be configured, and which port a query means.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from manman.errors import Conflict, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manman.domain.ports import PortBinding

READY = "ready"
"""The phase of a running session whose players can come."""

QUERY_KINDS = ("tcp", "a2s", "minecraft")
MAX_LIVENESS_LIMIT_S = 86400
LAST_PORT = 65535

_PORT = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")


@dataclasses.dataclass(frozen=True, slots=True)
class ReadyQuery:
    """A query: its kind, "" for none, and the name of a deployment's port or the number of a container's."""

    kind: str = ""
    port: str = ""


def check_readiness(query: ReadyQuery, liveness_limit_s: int) -> list[Problem]:
    """Return what is wrong with a query and with how long it may stay without an answer."""
    problems = []
    if query.kind not in ("", *QUERY_KINDS):
        problems.append(Problem("ready_query.kind", f"use one of {', '.join(QUERY_KINDS)}, not {query.kind!r}"))
    if query.kind and not query.port:
        problems.append(Problem("ready_query.port", "name one of the deployment's ports, or a container port"))
    if query.port and not query.kind:
        problems.append(Problem("ready_query.kind", f"choose one of {', '.join(QUERY_KINDS)}, or leave the port out"))
    if query.port and not _is_port(query.port):
        text = f"use the name of a port or a number from 1 to {LAST_PORT}, not {query.port!r}"
        problems.append(Problem("ready_query.port", text))
    if not 0 <= liveness_limit_s <= MAX_LIVENESS_LIMIT_S:
        text = f"use at most {MAX_LIVENESS_LIMIT_S} seconds, or 0 for never, not {liveness_limit_s}"
        problems.append(Problem("liveness_limit_seconds", text))
    return problems


def query_port(query: ReadyQuery, bindings: Iterable[PortBinding]) -> int:
    """Return the container port that a query means; 0 when there is no query. Raises `Conflict` for an unknown name."""
    if not query.kind:
        return 0
    if _is_number(query.port):
        return int(query.port)
    named = {binding.name: binding.container_port for binding in bindings if binding.name}
    if query.port not in named:
        known = ", ".join(sorted(named)) or "none"
        raise Conflict(
            f"the config's ready_query asks at the port {query.port!r}, and the deployment has no port of that name "
            f"(it has {known}): name one of them so, or let the query give the container port"
        )
    return named[query.port]


def _is_port(text: str) -> bool:
    return 1 <= int(text) <= LAST_PORT if _is_number(text) else bool(_PORT.fullmatch(text))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
