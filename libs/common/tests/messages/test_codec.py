"""Reading is lenient where senders differ and strict where a mistake would be believed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.errors import Invalid
from manman.messages.codec import MAX_BODY_BYTES, decode, encode
from manman.messages.commands import GameConfig, SendInput, StartSession, StopSession, Volume
from manman.messages.health import Heartbeat
from manman.messages.status import HostReported, SessionReported


def raw(**keys: Any) -> bytes:
    return json.dumps(keys).encode()


def test_an_unknown_key_is_ignored() -> None:
    assert decode(HostReported, raw(server_id=7, status="online", colour="red")).status == "online"


def test_a_null_list_map_or_text_is_an_empty_one() -> None:
    config = decode(
        GameConfig,
        raw(config_id=1, image="x", args_template=None, env_template=None, entrypoint=None, command=None, volumes=None),
    )

    assert (config.args_template, config.env_template, config.entrypoint, config.volumes) == ("", {}, [], [])


def test_a_null_deep_inside_is_an_empty_value_too() -> None:
    volume = {"name": "a", "container_path": "/a", "options": None}
    body = {
        "session_id": 1,
        "sgc_id": 2,
        "force": False,
        "game_config": {
            "config_id": 1,
            "image": "x",
            "volumes": [volume],
        },
        "server_game_config": {"sgc_id": 2, "port_bindings": None},
    }

    start = decode(StartSession, json.dumps(body).encode())

    assert start.game_config.volumes == [Volume(name="a", container_path="/a")]


def test_a_null_exit_code_is_no_exit_code() -> None:
    assert decode(SessionReported, raw(session_id=1, status="stopped", exit_code=None)).exit_code is None


@pytest.mark.parametrize(("sent", "read"), [(True, "true"), (False, "false"), (3, "3"), (1.5, "1.5"), ("x", "x")])
def test_a_scalar_volume_option_is_read_as_text(sent: object, read: str) -> None:
    assert decode(Volume, raw(name="a", container_path="/a", options={"o": sent})).options == {"o": read}


def test_a_volume_option_sent_as_bool_makes_the_mount_read_only() -> None:
    assert decode(Volume, raw(name="a", container_path="/a", options={"read_only": True})).read_only


def test_options_leave_as_text() -> None:
    volume = Volume(name="a", container_path="/a", options={"read_only": True})

    assert json.loads(encode(volume))["options"] == {"read_only": "true"}


@given(st.binary(max_size=200))
def test_input_bytes_survive_as_standard_base64(data: bytes) -> None:
    body = SendInput(session_id=1, input=data)

    assert decode(SendInput, encode(body)) == body


def test_a_zero_key_is_left_out() -> None:
    assert json.loads(encode(StopSession(session_id=1))) == {"session_id": 1}


def test_an_exit_code_of_zero_is_sent() -> None:
    assert json.loads(encode(SessionReported(session_id=1, status="stopped", exit_code=0)))["exit_code"] == 0


def test_an_empty_inventory_is_sent_and_differs_from_none() -> None:
    assert decode(Heartbeat, encode(Heartbeat(server_id=1, sessions=[]))).sessions == []
    assert decode(Heartbeat, encode(Heartbeat(server_id=1))).sessions is None


def test_a_body_is_encoded_once() -> None:
    assert isinstance(json.loads(encode(HostReported(server_id=1, status="online"))), dict)


def test_nanoseconds_and_offsets_are_read() -> None:
    body = decode(StopSession, raw(session_id=1, issued_at="2026-07-18T12:00:00.123456789+02:00"))

    assert body.issued_at is not None
    assert abs((body.issued_at - datetime(2026, 7, 18, 10, 0, 0, 123456, UTC)).total_seconds()) < 1e-5


def test_the_zero_time_is_read() -> None:
    assert decode(StopSession, raw(session_id=1, issued_at="0001-01-01T00:00:00Z")).issued_at is not None


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b'{"session_id": 1, "inp',
        b"[]",
        b"\xff\xfe",
        b"null",
        raw(session_id="1", status="running"),
        raw(session_id=0, status="running"),
        raw(session_id=2**63, status="running"),
        raw(session_id=1),
        raw(session_id=None, status="running"),
        raw(session_id=1, status=7),
        raw(session_id=1, status="running", event_id="no uuid"),
        raw(session_id=1, status="running", occurred_at="yesterday"),
        raw(session_id=1, status="running", occurred_at="2026-07-18T12:00:00"),
        b"[" * 100_000,
        b'{"session_id":1,"status":"running","x":' + b"[" * 100_000,
    ],
)
def test_a_body_that_cannot_be_one_is_invalid(broken: bytes) -> None:
    with pytest.raises(Invalid):
        decode(SessionReported, broken)


def test_the_refusal_names_the_key() -> None:
    with pytest.raises(Invalid, match=r"\$\.session_id"):
        decode(SessionReported, raw(session_id="1", status="running"))


def test_an_oversized_body_is_not_parsed() -> None:
    with pytest.raises(Invalid, match="at most"):
        decode(HostReported, b" " * (MAX_BODY_BYTES + 1))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_invalid(data: bytes) -> None:
    try:
        decode(SessionReported, data)
    except Invalid:
        return
