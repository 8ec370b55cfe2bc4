"""A private Docker engine never harms another one, and takes addresses that nobody has."""

import ipaddress
from pathlib import Path

import pytest
from manman_devstack import private_engine
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
    own = {"172.30.100.0/24", _NETWORK.pool}
    for rule in private_engine.own_rules(_NETWORK):
        assert own & set(rule), rule


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
