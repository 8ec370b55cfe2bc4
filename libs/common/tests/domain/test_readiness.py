import pytest

from manman.domain.ports import PortBinding
from manman.domain.readiness import ReadyQuery, check_readiness, query_port
from manman.errors import Conflict

PORTS = [
    PortBinding(container_port=7777, host_port=27000, protocol="UDP", name="game"),
    PortBinding(container_port=27015, host_port=27001, protocol="UDP", name="query"),
    PortBinding(container_port=8080, host_port=27002, protocol="TCP"),
]


@pytest.mark.parametrize(
    ("query", "limit_s", "fields"),
    [
        (ReadyQuery(), 0, []),
        (ReadyQuery("a2s", "query"), 60, []),
        (ReadyQuery("minecraft", "25565"), 86400, []),
        (ReadyQuery("gamespy", "query"), 0, ["ready_query.kind"]),
        (ReadyQuery("tcp"), 0, ["ready_query.port"]),
        (ReadyQuery(port="query"), 0, ["ready_query.kind"]),
        (ReadyQuery("tcp", "0"), 0, ["ready_query.port"]),
        (ReadyQuery("tcp", "65536"), 0, ["ready_query.port"]),
        (ReadyQuery("tcp", "²"), 0, ["ready_query.port"]),
        (ReadyQuery("tcp", "My Port"), 0, ["ready_query.port"]),
        (ReadyQuery(), -1, ["liveness_limit_seconds"]),
        (ReadyQuery(), 86401, ["liveness_limit_seconds"]),
    ],
)
def test_every_problem_of_a_query_names_its_field(query: ReadyQuery, limit_s: int, fields: list[str]) -> None:
    assert [problem.field for problem in check_readiness(query, limit_s)] == fields


@pytest.mark.parametrize(
    ("port", "asked"),
    [("query", 27015), ("game", 7777), ("8080", 8080), ("4711", 4711)],
)
def test_a_query_asks_at_the_port_of_that_name_or_number_inside_the_container(port: str, asked: int) -> None:
    assert query_port(ReadyQuery("a2s", port), PORTS) == asked


def test_without_a_query_no_port_is_asked() -> None:
    assert query_port(ReadyQuery(), PORTS) == 0


def test_a_name_that_no_port_has_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(Conflict, match=r"no port of that name \(it has game, query\)"):
        query_port(ReadyQuery("a2s", "steam"), PORTS)
