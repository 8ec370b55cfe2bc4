"""The firewall rules around a private Docker engine: those that we make, and those that the engine leaves behind.

Beside another engine ours may not touch iptables, so the ways out for its containers are made here. Alone on the
machine it makes its own chains; they stay after its end, and are removed here.
"""

import os
import subprocess
from collections.abc import Sequence

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TABLES = ("filter", "nat")

Rule = list[str]


class FirewallError(RuntimeError):
    """iptables refused a rule; the text is what it said."""


def ways_out(networks: Sequence[str]) -> list[Rule]:
    """Return the rules (table, chain, specification) that let containers of these networks reach other machines."""
    rules: list[Rule] = []
    for own in networks:
        rules += [
            ["nat", "POSTROUTING", "-s", own, "!", "-d", own, "-j", "MASQUERADE"],
            ["filter", "FORWARD", "-s", own, "-j", "ACCEPT"],
            ["filter", "FORWARD", "-d", own, "-j", "ACCEPT"],
        ]
    return rules


def add(rules: Sequence[Rule]) -> None:
    """Put the rules first in their chains, unless they are there."""
    for table, *rest in rules:
        if _iptables("-t", table, "-C", *rest).returncode != 0:
            result = _iptables("-t", table, "-I", *rest)
            if result.returncode != 0:
                raise FirewallError(f"iptables refused a rule for the private Docker engine: {result.stderr}")


def remove(rules: Sequence[Rule]) -> None:
    """Remove the rules; those that are gone already are no problem."""
    for table, *rest in rules:
        _iptables("-t", table, "-D", *rest)


def forward_policy() -> str:
    """Return what happens to a packet that is passed on and that no rule mentions: ACCEPT or DROP."""
    first = _iptables("-S", "FORWARD").stdout.split("\n", 1)[0].split()
    return first[-1] if first[:2] == ["-P", "FORWARD"] else "ACCEPT"


def remove_engine_chains(bridge: str, policy: str) -> None:
    """Remove what a Docker engine of that bridge made, and give FORWARD its policy back. No other engine may run."""
    for table in _TABLES:
        for arguments in leftovers(_iptables("-t", table, "-S").stdout, bridge):
            _iptables("-t", table, *arguments)
    _iptables("-P", "FORWARD", policy)


def leftovers(listing: str, bridge: str) -> list[list[str]]:
    """Return the iptables calls that undo an engine's rules and chains in a listing (`iptables -S`)."""
    lines = [line.split() for line in listing.splitlines()]
    chains = [words[1] for words in lines if words[0] == "-N" and words[1].split("-")[0] == "DOCKER"]
    ours = {bridge, *chains}
    rules = [words for words in lines if words[0] == "-A" and words[1] not in chains and ours & set(words[2:])]
    calls = [["-D", *words[1:]] for words in rules]
    calls += [["-F", chain] for chain in chains]
    calls += [["-X", chain] for chain in chains]
    return calls


def _iptables(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["iptables", "--wait", "10", *arguments]
    environment = {"PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
