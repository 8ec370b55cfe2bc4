import pytest

from manman.domain.configs import (
    RestartPolicy,
    Volume,
    check_environment,
    check_files,
    check_image,
    check_limits,
    check_restart,
    check_stop,
    check_volume,
)
from manman.domain.rendering import FileTemplate


def test_a_good_volume_passes() -> None:
    assert check_volume(Volume(name="data", container_path="/data", host_subpath="a/b", volume_type="named")) == []


@pytest.mark.parametrize(
    ("volume", "field"),
    [
        (Volume(name="", container_path="/a"), "name"),
        (Volume(name="a/b", container_path="/a"), "name"),
        (Volume(name="..", container_path="/a"), "name"),
        (Volume(name="a", container_path="a"), "container_path"),
        (Volume(name="a", container_path="/"), "container_path"),
        (Volume(name="a", container_path="/a/../b"), "container_path"),
        (Volume(name="a", container_path="/a", host_subpath="/etc"), "host_subpath"),
        (Volume(name="a", container_path="/a", host_subpath="x/../../y"), "host_subpath"),
        (Volume(name="a", container_path="/a", volume_type="nfs"), "volume_type"),
    ],
)
def test_a_bad_volume_is_refused_by_the_name_of_its_field(volume: Volume, field: str) -> None:
    assert [problem.field for problem in check_volume(volume)] == [field]


def test_files_are_checked() -> None:
    files = [
        FileTemplate(path="/a", content=""),
        FileTemplate(path="/a", content="", mode="999"),
        FileTemplate(path="b", content=""),
        FileTemplate(path="/x/../../etc/passwd", content=""),
    ]

    assert [problem.field for problem in check_files(files)] == [
        "files[1].path",
        "files[1].mode",
        "files[2].path",
        "files[3].path",
    ]


def test_images_variables_and_signals_are_checked() -> None:
    assert check_image("registry:5000/a/b:1@sha256:00") == []
    assert [problem.field for problem in check_image("a b")] == ["image"]
    assert [problem.field for problem in check_environment({"A": "", "": "x", "B=C": ""})] == [
        "env_template.",
        "env_template.B=C",
    ]
    assert check_stop("SIGINT", 30) == check_stop("", 0) == []
    assert [problem.field for problem in check_stop("9", -1)] == ["stop_signal", "stop_timeout_seconds"]


def test_limits_and_what_is_typed_to_stop_are_checked() -> None:
    assert check_limits({"memory_mb": 0, "pids_limit": 5}) == []
    assert [problem.field for problem in check_limits({"memory_mb": -1, "pids_limit": -1})] == [
        "resources.memory_mb",
        "resources.pids",
    ]
    assert [problem.field for problem in check_stop("", 3601, "x" * 1001)] == ["stop_command", "stop_timeout_seconds"]


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (RestartPolicy(), []),
        (RestartPolicy(policy="never"), []),
        (RestartPolicy(policy="on_crash", max_attempts=3, window_s=600, backoff_s=5), []),
        (RestartPolicy(policy="sometimes"), ["policy"]),
        (RestartPolicy(max_attempts=3), ["policy"]),
        (
            RestartPolicy(policy="always", max_attempts=101, window_s=-1, backoff_s=3601),
            ["max_attempts", "window_seconds", "backoff_seconds"],
        ),
    ],
)
def test_a_restart_policy_is_checked(policy: RestartPolicy, fields: list[str]) -> None:
    assert [problem.field for problem in check_restart(policy)] == [f"restart_policy.{field}" for field in fields]
