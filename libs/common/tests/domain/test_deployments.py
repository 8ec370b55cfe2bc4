from manman.domain.deployments import Review, Severity, review, unknown
from manman.domain.hosts import Capabilities
from manman.domain.parameters import Declared
from manman.domain.ports import WantedPort
from manman.errors import Problem


def judge(
    *,
    wanted: list[WantedPort] | None = None,
    declared: list[Declared] | None = None,
    given: dict[str, str] | None = None,
    online: bool = True,
    capabilities: Capabilities | None = None,
    memory_mb: int = 0,
    needs: dict[str, str] | None = None,
    features: tuple[str, ...] = (),
    draining: bool = False,
    problems: list[Problem] | None = None,
    unrenderable: str = "",
) -> Review:
    return review(
        wanted=wanted or [],
        taken={("TCP", 25565): "deployment 3 (Survival)"},
        declared=declared or [],
        layers=[given or {}],
        problems=problems or [],
        unrenderable=unrenderable,
        host_is_online=online,
        host_is_draining=draining,
        capabilities=capabilities,
        needs=needs or {},
        features=features,
        memory_mb=memory_mb,
        cpu_millicores=0,
    )


def found(result: Review) -> list[tuple[str, str]]:
    return [(issue.severity.value, issue.field) for issue in result.issues]


def test_a_good_deployment_has_no_issues_and_an_estimate() -> None:
    result = judge(wanted=[WantedPort(container_port=1, host_port=5), WantedPort(container_port=2)])

    assert result.valid
    assert result.issues == ()
    assert result.estimate is not None
    assert (result.estimate.memory_mb, result.estimate.cpu_millicores, result.estimate.host_ports) == (1024, 500, (5,))


def test_an_unknown_host_is_one_error_without_an_estimate() -> None:
    result = unknown("server_id", "server")

    assert not result.valid
    assert (found(result), result.estimate) == ([("error", "server_id")], None)


def test_a_held_port_is_an_error_that_names_the_holder() -> None:
    result = judge(wanted=[WantedPort(container_port=1, host_port=25565)])

    assert found(result) == [("error", "port_bindings[0].host_port")]
    assert "deployment 3 (Survival)" in result.issues[0].message


def test_malformed_ports_are_errors() -> None:
    assert found(judge(wanted=[WantedPort(container_port=0)])) == [("error", "port_bindings[0].container_port")]


def test_an_offline_host_is_a_warning() -> None:
    result = judge(online=False)

    assert result.valid
    assert found(result) == [("warning", "server_id")]


def test_parameters_are_judged_after_merging_defaults() -> None:
    declared = [Declared(key="a", required=True, default_value="1"), Declared(key="n", type="int")]

    assert judge(declared=declared).issues == ()
    assert found(judge(declared=declared, given={"n": "x"})) == [("error", "parameters.n")]
    assert found(judge(declared=declared, given={"z": "x"})) == [("warning", "parameters.z")]


def test_too_small_a_host_is_a_warning() -> None:
    small = Capabilities(available_memory_mb=100, available_cpu_millicores=100)

    result = judge(capabilities=small, memory_mb=4096)

    assert result.valid
    assert found(result) == [("warning", "resources.memory_mb"), ("warning", "resources.cpu_millicores")]


def test_a_host_that_told_nothing_is_not_called_small() -> None:
    assert judge(capabilities=Capabilities()).issues == ()
    assert Severity.ERROR == "error"


def test_a_host_that_would_ignore_part_of_the_config_is_a_warning() -> None:
    needs = {"entrypoint": "entrypoint", "config_files": "files"}

    assert found(judge(needs=needs, features=("entrypoint",))) == [("warning", "files")]
    assert judge(needs=needs, features=("config_files", "entrypoint", "kill")).issues == ()


def test_a_draining_host_is_a_warning() -> None:
    assert found(judge(draining=True)) == [("warning", "server_id")]


def test_what_cannot_be_saved_or_rendered_is_an_error() -> None:
    result = judge(problems=[Problem("stop_signal", "name a signal")], unrenderable="strategy 1 cannot be rendered")

    assert found(result) == [("error", "stop_signal"), ("error", "parameters")]
    assert not result.valid
