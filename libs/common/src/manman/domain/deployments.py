"""Deployments: what speaks for and against putting a config on a host.

An issue is advice with a severity. Errors are what the deployment would be refused for; warnings are not.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING

from manman.domain import parameters, ports
from manman.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from manman.domain.hosts import Capabilities
    from manman.domain.parameters import Declared
    from manman.domain.ports import PortKey, WantedPort
    from manman.errors import Problem

DEFAULT_MEMORY_MB = 1024
DEFAULT_CPU_MILLICORES = 500

ENTRYPOINT = "entrypoint"
CONFIG_FILES = "config_files"
READ_ONLY_VOLUMES = "read_only_volumes"
"""Names of features that a host announces; one that does not announce them starts the game without these things."""


class Severity(StrEnum):
    """How much an issue matters."""

    ERROR = "error"
    WARNING = "warning"


@dataclasses.dataclass(frozen=True, slots=True)
class Issue:
    """One finding: the field it is about, what is the matter, and what to do."""

    severity: Severity
    field: str
    message: str
    suggestion: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What a session of the deployment needs."""

    memory_mb: int
    cpu_millicores: int
    host_ports: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Review:
    """All issues, and the estimate when host and config exist."""

    issues: tuple[Issue, ...]
    estimate: Estimate | None = None

    @property
    def valid(self) -> bool:
        """True when nothing would be refused."""
        return all(issue.severity is not Severity.ERROR for issue in self.issues)


def unknown(field: str, what: str) -> Review:
    """Return the review of a deployment whose host or config does not exist."""
    return Review((Issue(Severity.ERROR, field, f"there is no such {what}", f"use the id of an existing {what}"),))


def review(
    *,
    wanted: Sequence[WantedPort],
    taken: Mapping[PortKey, str],
    declared: Sequence[Declared],
    layers: Sequence[Mapping[str, str]],
    problems: Sequence[Problem],
    unrenderable: str,
    host_is_online: bool,
    host_is_draining: bool,
    capabilities: Capabilities | None,
    needs: Mapping[str, str],
    features: Collection[str],
    memory_mb: int,
    cpu_millicores: int,
) -> Review:
    """Judge a wanted deployment of a known config on a known host.

    `problems` are those of what it says differently from its config, `unrenderable` says why a strategy cannot be
    rendered, "" when all can. `needs` maps a feature of hosts to the field of the config that needs it. Limits of 0 are
    estimated.
    """
    estimate = Estimate(
        memory_mb or DEFAULT_MEMORY_MB,
        cpu_millicores or DEFAULT_CPU_MILLICORES,
        tuple(port.host_port for port in wanted if port.host_port),
    )
    issues = []
    if not host_is_online:
        issues.append(
            Issue(Severity.WARNING, "server_id", "the host is offline", "sessions start once it is back online")
        )
    if host_is_draining:
        text = "the host is draining and starts no sessions"
        issues.append(Issue(Severity.WARNING, "server_id", text, "choose another host, or undrain it"))
    issues += _port_issues(wanted, taken)
    issues += _parameter_issues(declared, layers)
    issues += [Issue(Severity.ERROR, problem.field, problem.message) for problem in problems]
    if unrenderable:
        issues.append(Issue(Severity.ERROR, "parameters", unrenderable))
    issues += _resource_issues(estimate, capabilities)
    issues += [
        Issue(Severity.WARNING, field, f"the host does not announce {feature!r} and would ignore it", "update its host")
        for feature, field in needs.items()
        if feature not in features
    ]
    return Review(tuple(issues), estimate)


def _port_issues(wanted: Sequence[WantedPort], taken: Mapping[PortKey, str]) -> list[Issue]:
    issues = [Issue(Severity.ERROR, problem.field, problem.message) for problem in ports.check(wanted)]
    for index, port in enumerate(wanted):
        protocol = ports.protocol_of(port)
        holder = taken.get((protocol, port.host_port))
        if holder is not None:
            text = f"port {port.host_port}/{protocol} is held by {holder}"
            suggestion = "choose another port, or 0 for any free one"
            issues.append(Issue(Severity.ERROR, f"port_bindings[{index}].host_port", text, suggestion))
    return issues


def _parameter_issues(declared: Sequence[Declared], layers: Sequence[Mapping[str, str]]) -> list[Issue]:
    try:
        resolved = parameters.resolve(declared, layers)
    except Invalid as refused:
        return [Issue(Severity.ERROR, problem.field, problem.message) for problem in refused.problems]
    return [Issue(Severity.WARNING, problem.field, problem.message) for problem in resolved.warnings]


def _resource_issues(estimate: Estimate, capabilities: Capabilities | None) -> list[Issue]:
    if capabilities is None:
        return []
    issues = []
    if 0 < capabilities.available_memory_mb < estimate.memory_mb:
        text = f"needs {estimate.memory_mb} MB of memory, the host has {capabilities.available_memory_mb} MB left"
        issues.append(Issue(Severity.WARNING, "resources.memory_mb", text))
    if 0 < capabilities.available_cpu_millicores < estimate.cpu_millicores:
        text = f"needs {estimate.cpu_millicores} millicores, the host has {capabilities.available_cpu_millicores} left"
        issues.append(Issue(Severity.WARNING, "resources.cpu_millicores", text))
    return issues
