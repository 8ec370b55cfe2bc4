import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.ports import (
    PortBinding,
    PortRange,
    WantedPort,
    allocate,
    check,
    check_ranges,
    connect_addresses,
    keep,
    parse_ranges,
)
from manman.errors import Exhausted, Invalid

RANGES = (PortRange(start=27000, end=27003),)


def test_an_explicit_port_is_honoured() -> None:
    assert allocate([WantedPort(container_port=25565, host_port=25570)], {}, RANGES) == [
        PortBinding(container_port=25565, host_port=25570, protocol="TCP")
    ]


def test_an_explicit_port_in_use_is_refused_by_the_holders_name() -> None:
    with pytest.raises(Exhausted, match="port 25570/TCP is held by deployment 3"):
        allocate([WantedPort(container_port=1, host_port=25570)], {("TCP", 25570): "deployment 3"}, RANGES)


def test_the_same_number_is_free_for_the_other_protocol() -> None:
    taken = {("TCP", 25570): "deployment 3"}

    assert allocate([WantedPort(container_port=1, host_port=25570, protocol="udp")], taken, RANGES)[0].protocol == "UDP"


def test_port_zero_takes_the_lowest_free_one() -> None:
    taken = {("UDP", 27000): "a"}
    wanted = [WantedPort(container_port=1, protocol="UDP"), WantedPort(container_port=2, protocol="UDP")]

    assert [port.host_port for port in allocate(wanted, taken, RANGES)] == [27001, 27002]


def test_an_automatic_port_never_takes_one_asked_for_later_in_the_same_request() -> None:
    wanted = [WantedPort(container_port=1), WantedPort(container_port=2, host_port=27000)]

    assert [port.host_port for port in allocate(wanted, {}, RANGES)] == [27001, 27000]


def test_a_full_range_is_named() -> None:
    taken = {("UDP", port): "a" for port in range(27000, 27004)}

    with pytest.raises(Exhausted, match="no free UDP port in 27000-27003"):
        allocate([WantedPort(container_port=1, protocol="UDP")], taken, RANGES)


def test_a_range_of_the_other_protocol_does_not_help() -> None:
    with pytest.raises(Exhausted, match="any range"):
        allocate([WantedPort(container_port=1)], {}, [PortRange(start=1, end=9, protocol="UDP")])


def test_ranges_are_used_from_the_lowest() -> None:
    ranges = [PortRange(start=30000, end=30001), PortRange(start=20000, end=20000, protocol="TCP")]
    wanted = [WantedPort(container_port=1), WantedPort(container_port=2)]

    assert [port.host_port for port in allocate(wanted, {}, ranges)] == [20000, 30000]


def test_every_problem_is_named_at_once() -> None:
    wanted = [
        WantedPort(container_port=0, host_port=70000, protocol="ICMP"),
        WantedPort(container_port=80, host_port=8080),
        WantedPort(container_port=81, host_port=8080, protocol="tcp"),
        WantedPort(container_port=70000, host_port=-1),
    ]

    with pytest.raises(Invalid) as refused:
        allocate(wanted, {}, RANGES)

    assert [problem.field for problem in refused.value.problems] == [
        "port_bindings[0].protocol",
        "port_bindings[0].container_port",
        "port_bindings[0].host_port",
        "port_bindings[2].host_port",
        "port_bindings[3].container_port",
        "port_bindings[3].host_port",
    ]


def test_one_container_port_may_have_two_host_ports() -> None:
    assert check([WantedPort(container_port=1, host_port=5), WantedPort(container_port=1, host_port=6)]) == []


def test_ranges_are_read_from_text() -> None:
    assert parse_ranges("27000-27999, 30000/udp") == (
        PortRange(start=27000, end=27999),
        PortRange(start=30000, end=30000, protocol="UDP"),
    )


@pytest.mark.parametrize("text", ["", "x", "2-1", "0-5", "5-70000", "1-2/icmp", "1-2,", "\uff11-\uff12"])
def test_a_range_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_ranges(text)


wanted_ports = st.builds(
    WantedPort,
    container_port=st.integers(1, 9),
    host_port=st.one_of(st.just(0), st.integers(27000, 27006)),
    protocol=st.sampled_from(["", "tcp", "TCP", "udp"]),
)
taken_ports = st.dictionaries(st.tuples(st.sampled_from(["TCP", "UDP"]), st.integers(27000, 27006)), st.just("other"))


@given(st.lists(wanted_ports, max_size=6), taken_ports)
def test_no_port_is_ever_given_twice(wanted: list[WantedPort], taken: dict[tuple[str, int], str]) -> None:
    try:
        given_ports = allocate(wanted, taken, RANGES)
    except (Exhausted, Invalid):
        return

    keys = [port.key for port in given_ports]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(taken)
    assert [port.container_port for port in given_ports] == [port.container_port for port in wanted]
    for asked, got in zip(wanted, given_ports, strict=True):
        assert asked.host_port in (0, got.host_port)


@given(st.lists(wanted_ports, max_size=6), taken_ports)
def test_asking_again_for_what_was_given_gives_the_same(
    wanted: list[WantedPort], taken: dict[tuple[str, int], str]
) -> None:
    try:
        first = allocate(wanted, taken, RANGES)
    except (Exhausted, Invalid):
        return
    again = [WantedPort(container_port=p.container_port, host_port=p.host_port, protocol=p.protocol) for p in first]

    assert allocate(again, taken, RANGES) == first


def held(container_port: int, host_port: int, name: str = "", protocol: str = "TCP") -> PortBinding:
    return PortBinding(container_port=container_port, host_port=host_port, protocol=protocol, name=name)


def wants(container_port: int, host_port: int = 0, name: str = "", protocol: str = "TCP") -> WantedPort:
    return WantedPort(container_port=container_port, host_port=host_port, protocol=protocol, name=name)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param([wants(1000)], [(5000, "game")], id="any port is the one it has, with its name"),
        pytest.param([wants(1000, 6000)], [(6000, "game")], id="a moved port keeps its name"),
        pytest.param([wants(1000, name="main")], [(5000, "main")], id="a renamed port stays where it is"),
        pytest.param([wants(9999, name="query")], [(5001, "query")], id="a name keeps its port"),
        pytest.param([wants(9999, 5001)], [(5001, "query")], id="a host port keeps its name"),
        pytest.param([wants(1000, protocol="UDP")], [(0, "")], id="the other protocol is another port"),
        pytest.param([wants(1000), wants(7, 5000)], [(0, ""), (5000, "game")], id="who asks for a port gets it"),
        pytest.param([wants(1000), wants(7, name="game")], [(0, ""), (5000, "game")], id="a name is given once"),
        pytest.param([wants(1001), wants(1000)], [(5001, "query"), (5000, "game")], id="the order does not matter"),
        pytest.param([wants(1000), wants(1000)], [(5000, "game"), (0, "")], id="a held port is kept once"),
    ],
)
def test_an_update_keeps_what_it_leaves_open(wanted: list[WantedPort], expected: list[tuple[int, str]]) -> None:
    kept = keep(wanted, [held(1000, 5000, "game"), held(1001, 5001, "query")])

    assert [(port.host_port, port.name) for port in kept] == expected


def test_names_of_ports_are_short_words_and_unique() -> None:
    problems = check([wants(1, name="query"), wants(2, name="Query"), wants(3, name="query"), wants(4), wants(5)])

    assert [problem.field for problem in problems] == ["port_bindings[1].name", "port_bindings[2].name"]
    assert "port_bindings[0]" in problems[1].message


def test_a_name_comes_back_with_its_port() -> None:
    assert allocate([wants(1, name="query")], {}, RANGES) == [held(1, 27000, "query")]


def test_ranges_that_cannot_be_are_named() -> None:
    spans = [
        PortRange(start=27000, end=27000, protocol="UDP"),
        PortRange(start=2, end=1),
        PortRange(start=0, end=70000, protocol="ICMP"),
    ]

    assert [problem.field for problem in check_ranges(spans)] == [
        "port_ranges[1]",
        "port_ranges[2]",
        "port_ranges[2].protocol",
    ]


def test_players_are_told_host_and_port_of_each_binding() -> None:
    bindings = [held(1, 5000, "game"), held(2, 5001, protocol="UDP")]

    found = connect_addresses("play.example.org", bindings)

    assert [(each.address, each.protocol, each.name, each.container_port) for each in found] == [
        ("play.example.org:5000", "TCP", "game", 1),
        ("play.example.org:5001", "UDP", "", 2),
    ]
    assert [each.address for each in connect_addresses("2001:db8::1", bindings[:1])] == ["[2001:db8::1]:5000"]
    assert [each.address for each in connect_addresses("[2001:db8::1]", bindings[:1])] == ["[2001:db8::1]:5000"]
