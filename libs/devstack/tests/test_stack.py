"""The variables of the services, and the file that `make up` leaves behind."""

import subprocess
from pathlib import Path

from manman_devstack import stack
from manman_devstack.home import Home
from manman_devstack.object_store import ObjectStore
from manman_devstack.stack import Infrastructure, Place

_INFRASTRUCTURE = Infrastructure(
    "postgresql://postgres@127.0.0.1:1/manman?application_name=it's",
    "amqp://guest:guest@127.0.0.1:2/%2F",
    ObjectStore("http://127.0.0.1:3", "logs", "key", "secret & more"),
    "unix:///run/docker.sock",
)


def test_a_shell_reads_back_what_was_written(tmp_path: Path) -> None:
    ports = stack.choose_ports(Home(tmp_path))
    file = tmp_path / "stack.env"
    file.write_text(stack.stack_env(_INFRASTRUCTURE, ports))
    shell = subprocess.run(
        ["bash", "-c", f'. {file} && printf "%s|" "$PG_DATABASE_URL" "$S3_SECRET_KEY" "$MANMAN_REST"'],
        check=True,
        capture_output=True,
        text=True,
    )
    url, secret, rest, _ = shell.stdout.split("|")
    assert url == _INFRASTRUCTURE.database_url
    assert secret == "secret & more"
    assert rest == f"http://127.0.0.1:{ports.rest}"


def test_two_platforms_in_one_home_share_no_port(tmp_path: Path) -> None:
    first, second = (stack.choose_ports(Home(tmp_path), prefix) for prefix in ("a-", "b-"))
    of_first = {first.grpc, first.rest, first.ui, *first.probes.values()}
    assert len(of_first) == 3 + len(stack.SERVICES)
    assert not of_first & {second.grpc, second.rest, second.ui, *second.probes.values()}


def test_the_execution_plane_and_the_ui_never_hear_of_the_database(tmp_path: Path) -> None:
    place = Place("test", "machine", tmp_path, "wrapper")
    environments = stack.environments(_INFRASTRUCTURE, stack.choose_ports(Home(tmp_path)), place)
    for service in ("host", "ui"):
        assert not {"PG_DATABASE_URL", "S3_SECRET_KEY"} & set(environments[service])
