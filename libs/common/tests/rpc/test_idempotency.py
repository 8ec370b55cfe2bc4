"""Which calls may carry an idempotency key, and what tells attempts at one thing from other calls."""

import pytest

from manman.domain.idempotency import Attempt, check_same_request
from manman.errors import Invalid
from manman.rpc.idempotency import attempt_of, key_problems, takes_key
from manman.v1 import access_control_pb2, api_pb2, sessions_pb2, workshop_pb2

API = api_pb2.DESCRIPTOR.services_by_name["ManManAPI"]
START = API.methods_by_name["StartSession"]
STOP = API.methods_by_name["StopSession"]


def attempt(key: str = "k", subject: str = "ann", **fields: object) -> Attempt:
    request = sessions_pb2.StartSessionRequest(server_game_config_id=1, **fields)
    found = attempt_of(START, request, {"idempotency-key": key}, subject)
    assert found is not None
    return found


def test_a_start_and_a_deployment_take_a_key_and_nothing_else_does() -> None:
    files = (api_pb2, workshop_pb2, access_control_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    taking = {method.name for service in services for method in service.methods if takes_key(method)}
    assert taking == {"StartSession", "DeployGameConfig"}


@pytest.mark.parametrize("key", ["a", "x" * 200, "!~", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_visible_ascii_up_to_200_characters_is_a_key(key: str) -> None:
    assert key_problems(START, {"idempotency-key": key}) == []


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "ö", "a\n", "\x7f"])
def test_anything_else_is_refused_by_the_name_of_the_key(key: str) -> None:
    (problem,) = key_problems(START, {"idempotency-key": key})
    assert problem.field == "idempotency-key"
    assert "200 visible ASCII" in problem.message


def test_a_call_without_a_key_is_no_attempt_and_neither_is_one_that_takes_none() -> None:
    assert attempt_of(START, sessions_pb2.StartSessionRequest(), {}, "ann") is None
    assert attempt_of(STOP, sessions_pb2.StopSessionRequest(), {"idempotency-key": "k"}, "ann") is None
    assert key_problems(STOP, {"idempotency-key": "a b"}) == []


def test_an_attempt_names_caller_rpc_and_key() -> None:
    found = attempt("k1", "bob")
    assert (found.subject, found.rpc, found.key) == ("bob", "ManManAPI.StartSession", "k1")


def test_the_order_in_which_a_map_was_filled_does_not_make_another_request() -> None:
    one = attempt(parameters={"a": "1", "b": "2", "c": "3"})
    assert one == attempt(parameters={"c": "3", "b": "2", "a": "1"})


def test_a_key_that_came_with_another_request_is_refused_with_the_way_out() -> None:
    first = attempt(force=False)
    check_same_request(first, first.fingerprint)
    with pytest.raises(Invalid, match="another StartSession request before; use a new key"):
        check_same_request(attempt(force=True), first.fingerprint)
