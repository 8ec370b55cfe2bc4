"""A private Docker engine never harms another one, and takes addresses that nobody has."""

import ipaddress
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from manman_devstack import firewall, private_engine
from manman_devstack.home import Home
from manman_devstack.private_engine import Network

_NETWORK = Network("mmd000001", "172.30.100.1/24", "10.201.0.0/16")


def _command(*, beside_another: bool) -> list[str]:
    return private_engine.engine_command(
        socket=Path("/home/docker.sock"),
        data=Path("/home/docker"),
        runtime=Path("/home/docker-exec"),
        pid_file=Path("/home/docker.pid"),
        network=_NETWORK,
        beside_another=beside_another,
    )


@pytest.mark.parametrize("beside_another", [True, False])
def test_it_always_has_a_bridge_of_its_own(*, beside_another: bool) -> None:
    command = _command(beside_another=beside_another)
    assert command[command.index("--bridge") + 1] == _NETWORK.bridge
    assert "none" not in command


def test_beside_another_engine_it_leaves_iptables_alone() -> None:
    assert {"--iptables=false", "--ip6tables=false", "--ip-masq=false"} <= set(_command(beside_another=True))
    assert not any("iptables" in word for word in _command(beside_another=False))


def test_its_rules_name_only_its_own_networks() -> None:
    own = {_NETWORK.bridge_network, _NETWORK.pool}
    for rule in firewall.ways_out([_NETWORK.bridge_network, _NETWORK.pool]):
        assert own & set(rule), rule


def test_what_an_engine_left_in_the_firewall_is_removed_and_nothing_else() -> None:
    listing = """-P FORWARD DROP
-N DOCKER
-N DOCKER-USER
-N mine
-A FORWARD -j DOCKER-USER
-A FORWARD -o mmd000001 -j DOCKER
-A FORWARD -i mmd000001 ! -o mmd000001 -j ACCEPT
-A FORWARD -i wg0 -j mine
-A DOCKER-USER -j RETURN
"""
    assert firewall.leftovers(listing, "mmd000001") == [
        ["-D", "FORWARD", "-j", "DOCKER-USER"],
        ["-D", "FORWARD", "-o", "mmd000001", "-j", "DOCKER"],
        ["-D", "FORWARD", "-i", "mmd000001", "!", "-o", "mmd000001", "-j", "ACCEPT"],
        ["-F", "DOCKER"],
        ["-F", "DOCKER-USER"],
        ["-X", "DOCKER"],
        ["-X", "DOCKER-USER"],
    ]


@pytest.mark.parametrize("beside_another", [True, False])
def test_it_avoids_networks_that_are_in_use(*, beside_another: bool) -> None:
    first = private_engine.choose_network("seed", [], beside_another=beside_another)
    taken = [first.pool, first.bridge_address]
    second = private_engine.choose_network("seed", taken, beside_another=beside_another)
    for net in map(ipaddress.ip_interface, (second.pool, second.bridge_address)):
        assert not any(net.network.overlaps(ipaddress.ip_interface(text).network) for text in taken)


def test_two_checkouts_never_share_a_bridge() -> None:
    names = {private_engine.choose_network(seed, [], beside_another=True).bridge for seed in ("/a", "/b")}
    assert len(names) == 2
    assert all(len(name) <= 15 for name in names)


def test_an_engine_that_ended_and_was_not_collected_is_no_other_engine(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    before = private_engine.another_engine_runs(home)
    program = tmp_path / "dockerd"
    shutil.copy("/bin/true", program)
    with subprocess.Popen([program]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays listed
        assert private_engine.another_engine_runs(home) == before
