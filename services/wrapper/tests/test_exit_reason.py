from __future__ import annotations

import pytest

from manman_wrapper.exit_reason import explain_exit, explain_refused_start


@pytest.mark.parametrize(
    ("code", "oom", "asked", "status", "reason", "signal"),
    [
        (0, False, "", "stopped", "exited", 0),
        (0, True, "", "stopped", "exited", 0),
        (3, False, "", "crashed", "exited", 0),
        (137, True, "", "crashed", "oom", 9),
        (137, False, "", "crashed", "signal", 9),
        (139, False, "", "crashed", "signal", 11),
        (143, False, "stop", "stopped", "stopped", 15),
        (0, False, "stop", "stopped", "stopped", 0),
        (1, False, "stop", "stopped", "stopped", 0),
        (137, False, "stop", "stopped", "killed", 9),
        (137, False, "kill", "stopped", "killed", 9),
    ],
)
def test_an_exit_is_explained_by_code_memory_and_what_was_asked(  # noqa: PLR0917 - a table row
    code: int,
    oom: bool,  # noqa: FBT001 - a table row
    asked: str,
    status: str,
    reason: str,
    signal: int,
) -> None:
    ending = explain_exit(code, oom_killed=oom, asked_to=asked)
    assert (ending.status, ending.reason, ending.signal) == (status, reason, signal)
    assert str(code) in ending.message


def test_a_taken_port_is_named_in_the_reason() -> None:
    text = "driver failed: Bind for 0.0.0.0:27015 failed: port is already allocated"
    reason, message = explain_refused_start(text)
    assert reason == "port_in_use"
    assert "27015" in message


def test_a_missing_image_has_its_own_reason() -> None:
    assert explain_refused_start("No such image: nothing:latest")[0] == "image_unavailable"
