"""Ports: which host port a deployment gets for each port of its game.

A host port belongs to one deployment per (host, protocol). An explicit port is honoured or refused with the name of its
holder, never moved; host port 0 asks for the lowest free port of the host's ranges. A port may have a name, unique
within its deployment.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from manman.errors import Exhausted, Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")

PROTOCOLS = ("TCP", "UDP")
MIN_PORT = 1
MAX_PORT = 65535

PortKey = tuple[str, int]
"""(protocol, host port)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WantedPort:
    """A port as asked for: `host_port` 0 means any, `protocol` "" means TCP, and its case does not matter."""

    container_port: int
    host_port: int = 0
    protocol: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """A port as reserved: every value is final, `protocol` is TCP or UDP."""

    container_port: int
    host_port: int
    protocol: str
    name: str = ""

    @property
    def key(self) -> PortKey:
        """Return what is unique per host."""
        return (self.protocol, self.host_port)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Host ports from `start` to `end`, both included; `protocol` "" means both."""

    start: int
    end: int
    protocol: str = ""

    def __str__(self) -> str:
        """Return `start-end`."""
        return f"{self.start}-{self.end}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectAddress:
    """Where players reach a port: `address` is `host:port`."""

    address: str
    protocol: str
    name: str
    container_port: int


def allocate(
    wanted: Sequence[WantedPort], taken: Mapping[PortKey, str], ranges: Sequence[PortRange]
) -> list[PortBinding]:
    """Give every wanted port a host port, in the order asked.

    `taken` names the holder of each port in use. Raises `Invalid` for ports that cannot be (every problem at once) and
    `Exhausted` for a port that is held or a range without a free one.
    """
    problems = check(wanted)
    if problems:
        raise Invalid(problems)
    explicit = {(protocol_of(port), port.host_port) for port in wanted if port.host_port}
    for protocol, number in sorted(explicit):
        if (protocol, number) in taken:
            raise Exhausted(f"port {number}/{protocol}", taken[protocol, number])
    busy = explicit | set(taken)
    bindings = []
    for port in wanted:
        protocol = protocol_of(port)
        number = port.host_port or _lowest_free(protocol, busy, ranges)
        busy.add((protocol, number))
        bindings.append(
            PortBinding(container_port=port.container_port, host_port=number, protocol=protocol, name=port.name)
        )
    return bindings


def check(wanted: Sequence[WantedPort]) -> list[Problem]:
    """Return everything wrong with the wanted ports as such; fields are `port_bindings[i].…`."""
    problems = []
    seen: dict[PortKey, int] = {}
    names: dict[str, int] = {}
    for index, port in enumerate(wanted):
        field = f"port_bindings[{index}]"
        if protocol_of(port) not in PROTOCOLS:
            problems.append(Problem(f"{field}.protocol", f"use TCP or UDP, not {port.protocol!r}"))
        if not MIN_PORT <= port.container_port <= MAX_PORT:
            problems.append(Problem(f"{field}.container_port", f"use 1 to 65535, not {port.container_port}"))
        if not 0 <= port.host_port <= MAX_PORT:
            problems.append(Problem(f"{field}.host_port", f"use 1 to 65535, or 0 for any, not {port.host_port}"))
        key = (protocol_of(port), port.host_port)
        if port.host_port and key in seen:
            text = f"{port.host_port}/{key[0]} is asked for by port_bindings[{seen[key]}] already; choose another"
            problems.append(Problem(f"{field}.host_port", text))
        seen.setdefault(key, index)
        if port.name and not _NAME.fullmatch(port.name):
            text = f"use lower-case letters, digits, _ and -, at most 50, not {port.name!r}"
            problems.append(Problem(f"{field}.name", text))
        if port.name and names.setdefault(port.name, index) != index:
            text = f"{port.name} is the name of port_bindings[{names[port.name]}] already; choose another"
            problems.append(Problem(f"{field}.name", text))
    return problems


def check_ranges(ranges: Sequence[PortRange]) -> list[Problem]:
    """Return what is wrong with port ranges that somebody wants saved; fields are `port_ranges[i].…`."""
    problems = []
    for index, span in enumerate(ranges):
        if not MIN_PORT <= span.start <= span.end <= MAX_PORT:
            text = f"use a range between 1 and 65535 that does not end before it starts, not {span}"
            problems.append(Problem(f"port_ranges[{index}]", text))
        if span.protocol not in ("", *PROTOCOLS):
            text = f"use TCP or UDP, or leave it empty for both, not {span.protocol!r}"
            problems.append(Problem(f"port_ranges[{index}].protocol", text))
    return problems


def keep(wanted: Sequence[WantedPort], held: Sequence[PortBinding]) -> list[WantedPort]:
    """Return what an update wants, with what it leaves open taken from the ports that the deployment holds.

    A port is the one held under its name, else the one with the same host port, else with the same container port.
    From it come the host port when any will do, so that an update moves no port without need, and the name when none is
    given.
    """
    numbers = {(protocol_of(port), port.host_port) for port in wanted if port.host_port}
    names = {port.name for port in wanted if port.name}
    kept = []
    for port, known in zip(wanted, _known(wanted, held), strict=True):
        number, name = port.host_port, port.name
        if known is not None and not number and known.key not in numbers:
            number = known.host_port
        if known is not None and not name and known.name not in names:
            name = known.name
        kept.append(dataclasses.replace(port, host_port=number, name=name))
    return kept


def connect_addresses(host: str, bindings: Iterable[PortBinding]) -> tuple[ConnectAddress, ...]:
    """Return where players reach each port of a deployment on `host`, a name or an address."""
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return tuple(
        ConnectAddress(
            address=f"{host}:{port.host_port}",
            protocol=port.protocol,
            name=port.name,
            container_port=port.container_port,
        )
        for port in bindings
    )


def protocol_of(port: WantedPort) -> str:
    """Return the protocol in its stored form, TCP when none is given."""
    return port.protocol.upper() or "TCP"


def parse_ranges(text: str) -> tuple[PortRange, ...]:
    """Read `27000-27999,30000-30010/UDP`; raise `Invalid` for anything else."""
    return tuple(_parse_range(part.strip()) for part in text.split(","))


def _parse_range(text: str) -> PortRange:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|TCP|UDP))?", text)
    if found:
        start = int(found[1])
        end = int(found[2] or found[1])
        if MIN_PORT <= start <= end <= MAX_PORT:
            return PortRange(start=start, end=end, protocol=(found[3] or "").upper())
    raise Invalid([Problem("port range", f"write FROM-TO between 1 and 65535, such as 27000-27999, not {text!r}")])


def _known(wanted: Sequence[WantedPort], held: Sequence[PortBinding]) -> list[PortBinding | None]:
    """Return for each wanted port the held one that it is; none is two."""

    def same_name(port: WantedPort, other: PortBinding) -> bool:
        return port.name != "" and port.name == other.name

    def same_host_port(port: WantedPort, other: PortBinding) -> bool:
        return port.host_port == other.host_port

    def same_container_port(port: WantedPort, other: PortBinding) -> bool:
        return port.container_port == other.container_port

    found: list[PortBinding | None] = [None] * len(wanted)
    left = list(held)
    for same in (same_name, same_host_port, same_container_port):
        for index, port in enumerate(wanted):
            if found[index] is None:
                fitting = (other for other in left if protocol_of(port) == other.protocol and same(port, other))
                found[index] = known = next(fitting, None)
                if known is not None:
                    left.remove(known)
    return found


def _lowest_free(protocol: str, busy: set[PortKey], ranges: Iterable[PortRange]) -> int:
    fitting = sorted(
        (span for span in ranges if span.protocol.upper() in ("", protocol)), key=lambda span: (span.start, span.end)
    )
    for span in fitting:
        for number in range(max(span.start, MIN_PORT), min(span.end, MAX_PORT) + 1):
            if (protocol, number) not in busy:
                return number
    spans = ", ".join(map(str, fitting)) or "any range of this host"
    raise Exhausted(f"no free {protocol} port in {spans}")
