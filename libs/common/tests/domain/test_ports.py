import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.ports import PortBinding, PortRange, WantedPort, allocate, check, parse_ranges
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
