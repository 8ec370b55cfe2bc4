from __future__ import annotations

import pytest
from pydantic import ValidationError

from manman.settings import explain
from manman_host.settings import Settings


def test_port_ranges_are_read_with_and_without_protocol() -> None:
    settings = Settings(host_data_dir="/srv", port_range="27000-27999, 28000-28010/udp")
    assert settings.port_ranges == [(27000, 27999, ""), (28000, 28010, "UDP")]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"host_data_dir": "/" + "x" * 90}, "shorter"),
        ({"host_data_dir": "relative"}, "HOST_DATA_DIR"),
        ({"host_data_dir": "/srv", "port_range": "27999-27000"}, "27000-27999"),
        ({"host_data_dir": "/srv", "docker_host": "tcp://10.0.0.1:2375"}, "unix://"),
        ({"host_data_dir": "/srv", "environment": "a b"}, "ENVIRONMENT"),
    ],
)
def test_a_bad_setting_is_refused_with_what_to_do(values: dict[str, str], advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    assert advice in "\n".join(explain(caught.value, Settings))


def test_the_engines_socket_is_that_of_its_address_unless_said_otherwise() -> None:
    assert Settings(host_data_dir="/srv", docker_host="unix:///run/d.sock").engine_socket == "/run/d.sock"
    named = Settings(host_data_dir="/srv", docker_host="unix:///run/d.sock", docker_socket="/outer/d.sock")
    assert named.engine_socket == "/outer/d.sock"
