"""HTTP requests become calls: paths, queries, bodies, masks, refusals."""

from typing import Any

import pytest

from manman import errors
from manman.v1 import sessions_pb2


async def test_a_path_variable_becomes_a_field_and_the_answer_is_snake_case_json(site: Any) -> None:
    answer = await site.client.get("/v1/servers/7", headers={"x-request-id": "abc"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "abc"
    assert answer.json()["server"]["server_id"] == "7"
    assert answer.json()["server"]["name"] == "Höst"
    assert answer.json()["server"]["is_default"] is False
    assert site.api.request_id == "abc"


async def test_whole_numbers_of_64_bits_are_text_in_answers_and_both_in_requests(site: Any) -> None:
    answer = await site.client.post("/v1/servers:register", json={"name": "one"})
    assert answer.json()["server_id"] == "9007199254740993"
    for config in (5, "5"):
        body = {"game_id": config, "name": "a", "image": "b"}
        assert (await site.client.post("/v1/game-configs", json=body)).status_code == 200
        assert site.api.requests[-1].game_id == 5


async def test_a_custom_verb_is_not_the_resource(site: Any) -> None:
    assert (await site.client.post("/v1/sessions/5:stop", json={"force": True})).status_code == 200
    request = site.api.requests[-1]
    assert isinstance(request, sessions_pb2.StopSessionRequest)
    assert (request.session_id, request.force) == (5, True)
    assert (await site.client.post("/v1/sessions/5:jump")).status_code == 404
    assert (await site.client.patch("/v1/servers/5:stop", json={})).status_code == 404


async def test_a_post_without_a_body_is_an_empty_request(site: Any) -> None:
    assert (await site.client.post("/v1/sessions/5:stop")).status_code == 200


async def test_query_parameters_become_fields_of_every_kind(site: Any) -> None:
    url = "/v1/sessions?status_filter=running&status_filter=lost&live_only=true&page_size=5&server_id=3&pageToken=x"
    assert (await site.client.get(url)).status_code == 200
    request = site.api.requests[-1]
    assert isinstance(request, sessions_pb2.ListSessionsRequest)
    assert list(request.status_filter) == ["running", "lost"]
    assert (request.live_only, request.page_size, request.server_id, request.page_token) == (True, 5, 3, "x")


async def test_an_absent_optional_parameter_stays_absent(site: Any) -> None:
    await site.client.get("/v1/configuration-patches?entity_id=0")
    request: Any = site.api.requests[-1]
    assert request.HasField("entity_id")
    assert not request.HasField("strategy_id")


async def test_a_variable_may_name_a_field_of_a_field(site: Any) -> None:
    answer = await site.client.put("/v1/actions/9", json={"action": {"name": "save", "label": "Save"}})
    assert answer.status_code == 200, answer.text
    request: Any = site.api.requests[-1]
    assert (request.action.action_id, request.action.name) == (9, "save")


async def test_bytes_travel_as_base64(site: Any) -> None:
    await site.client.post("/v1/sessions/5:sendInput", json={"input": "c2F2ZQo="})
    request: Any = site.api.requests[-1]
    assert request.input == b"save\n"


async def test_patch_changes_what_the_body_names(site: Any) -> None:
    await site.client.patch("/v1/servers/7", json={"isDefault": False, "name": "new"})
    request: Any = site.api.requests[-1]
    assert sorted(request.update_paths) == ["is_default", "name"]


async def test_patch_with_a_mask_of_its_own_keeps_it(site: Any) -> None:
    await site.client.patch("/v1/servers/7", json={"name": "new", "update_paths": ["status"], "status": "online"})
    request: Any = site.api.requests[-1]
    assert list(request.update_paths) == ["status"]


async def test_the_path_and_the_body_may_agree_but_not_differ(site: Any) -> None:
    assert (await site.client.patch("/v1/servers/7", json={"server_id": "7", "name": "a"})).status_code == 200
    answer = await site.client.patch("/v1/servers/7", json={"server_id": "8", "name": "a"})
    assert answer.status_code == 400
    assert "different in the path and in the body" in answer.json()["message"]


async def test_head_is_get_without_a_body(site: Any) -> None:
    answer = await site.client.head("/v1/servers/7")
    assert (answer.status_code, answer.content) == (200, b"")


BAD_REQUESTS = [
    ("GET", "/v1/servers/x", None, "server_id", "not an integer"),
    ("GET", "/v1/servers/0", None, "server_id", "greater than 0"),
    ("GET", "/v1/servers/99999999999999999999", None, "server_id", "not an integer"),
    ("GET", "/v1/servers/1?colour=red", None, "colour", "no such parameter"),
    ("GET", "/v1/servers/1?server_id=2", None, "server_id", "no such query parameter"),
    ("GET", "/v1/sessions?live_only=maybe", None, "live_only", "not true or false"),
    ("GET", "/v1/sessions?status_filter=dead", None, "status_filter[0]", "must be in list"),
    ("GET", "/v1/sessions?page_size=1&page_size=2", None, "page_size", "more than once"),
    ("POST", "/v1/servers:register", b'{"name": "a", "capabilities": 5}', "capabilities", "wrong type"),
    ("GET", "/v1/sessions?page_size=1.5", None, "page_size", "not an integer"),
    ("POST", "/v1/servers:register?name=x", b"{}", "name", "no such query parameter"),
    ("POST", "/v1/servers:register", b"{", "body", "not JSON"),
    ("POST", "/v1/servers:register", b"[1]", "body", "JSON object"),
    ("POST", "/v1/servers:register", b"NaN", "body", "NaN is no number"),
    ("POST", "/v1/servers:register", b'{"name": Infinity}', "body", "Infinity is no number"),
    ("POST", "/v1/servers:register", b"null", "body", "null is no value"),
    ("POST", "/v1/servers:register", b'{"name": null}', "name", "null is no value; leave it out"),
    ("PATCH", "/v1/servers/1", b'{"name": "a", "is_default": null}', "is_default", "null is no value"),
    ("POST", "/v1/servers:register", b'{"name": "a", "features": ["b", null]}', "features[1]", "null is no value"),
    ("POST", "/v1/deployments", b'{"port_bindings": [{"host_port": null}]}', "port_bindings[0].host_port", "null"),
    ("POST", "/v1/servers:register", b'{"name": "a", "name": "b"}', "name", "more than once"),
    ("POST", "/v1/deployments", b'{"parameters": {"p": "1", "p": "2"}}', "p", "more than once"),
    (
        "POST",
        "/v1/servers:register",
        b'{"name": "a", "name": {"\\ud800": 1, "\\ud800": 2}}',
        "body",
        "half a character",
    ),
    ("POST", "/v1/servers:register", '{"name": "ä"}'.encode("latin-1"), "body", "not UTF-8: byte 10"),
    ("POST", "/v1/servers:register", '{"name": "a"}'.encode("utf-16"), "body", "not UTF-8: byte 0"),
    ("POST", "/v1/servers:register", b'{"name": ["a"]}', "name", "wrong type"),
    ("POST", "/v1/servers:register", b'{"name": "a", "features": "b"}', "features", ""),
    ("PATCH", "/v1/servers/1", b'{"is_default": "true"}', "is_default", ""),
    ("PATCH", "/v1/servers/1", b'{"is_default": 1}', "is_default", ""),
    ("POST", "/v1/deployments", b'{"server_id": 1.5}', "server_id", ""),
    ("POST", "/v1/deployments", b'{"server_id": "1x"}', "server_id", ""),
    ("POST", "/v1/deployments", b'{"server_id": 9223372036854775808}', "server_id", "out of range"),
    ("POST", "/v1/deployments", b'{"parameters": {"p": 5}}', "parameters", ""),
    (
        "POST",
        "/v1/deployments",
        b'{"port_bindings": [{"container_port": 4294967296}]}',
        "port_bindings.container_port",
        "out of range",
    ),
    (
        "POST",
        "/v1/deployments",
        b'{"port_bindings": [' + b'{"x":' * 90 + b"1" + b"}" * 90 + b"]}",
        "port_bindings.x",
        "",
    ),
    ("POST", "/v1/servers:register", b'"name"', "body", "JSON object"),
    ("POST", "/v1/servers:register", b"[" * 100_000, "body", "nested too deeply"),
    ("POST", "/v1/servers:register", b"\xff\xfe", "body", "UTF-8"),
    ("POST", "/v1/servers:register", b'{"name": 5}', "name", ""),
    ("POST", "/v1/servers:register", b'{"name": "a", "colour": 1}', "colour", "no such field"),
    ("POST", "/v1/servers:register", b'{"name": "a", "capabilities": {"x": 1}}', "capabilities.x", "no such field"),
    ("POST", "/v1/servers:register", b'{"name": "a\\u0000"}', "name", "U+0000"),
    ("POST", "/v1/servers:register", b'{"name": "\\ud800"}', "body", "half a character"),
    ("POST", "/v1/servers:register", b'{"features": "\\ud800"}', "body", "half a character"),
    ("POST", "/v1/servers:register", b'{"capabilities": "\\uDFFF"}', "body", "half a character"),
    ("POST", "/v1/servers:register", b'{"\\ud800": 1}', "body", "half a character"),
    ("PATCH", "/v1/servers/1", b'{"update_paths": "\\ud800"}', "body", "half a character"),
    ("POST", "/v1/servers:register", b"{}", "name", "at least 1"),
    (
        "POST",
        "/v1/game-configs",
        b'{"game_id": 1, "name": "a", "image": "b", "env_template": {"A=B": "x"}}',
        'env_template["A=B"]',
        "must not hold =",
    ),
]


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: f"{bad[1]} {bad[4]}")
async def test_a_bad_request_is_refused_with_the_field_and_the_reason(
    site: Any, bad: tuple[str, str, bytes | None, str, str]
) -> None:
    verb, url, body, field, text = bad
    headers = {"content-type": "application/json"} if body is not None else {}
    answer = await site.client.request(verb, url, content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    document = answer.json()
    assert (document["code"], document["status"]) == (3, "INVALID_ARGUMENT")
    bad = next(detail for detail in document["details"] if detail["@type"].endswith("BadRequest"))
    assert field in [one["field"] for one in bad["field_violations"]], document
    assert text in document["message"]
    assert site.api.requests == []


async def test_all_problems_come_at_once(site: Any) -> None:
    answer = await site.client.get("/v1/sessions?live_only=maybe&page_size=x&colour=red")
    assert len(answer.json()["details"][0]["field_violations"]) == 3


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.NotFound("server", 7), 404, "NOT_FOUND"),
        (errors.AlreadyExists("server", "a"), 409, "ALREADY_EXISTS"),
        (errors.Conflict("the session is live"), 409, "FAILED_PRECONDITION"),
        (errors.Exhausted("port 1/TCP", "deployment 2"), 409, "RESOURCE_EXHAUSTED"),
        (errors.Unauthenticated("who"), 401, "UNAUTHENTICATED"),
        (errors.PermissionDenied("no"), 403, "PERMISSION_DENIED"),
        (errors.Unavailable("database"), 503, "UNAVAILABLE"),
        (errors.TimedOut("host"), 504, "DEADLINE_EXCEEDED"),
    ],
)
async def test_each_error_has_its_http_status(site: Any, error: Exception, status: int, name: str) -> None:
    site.api.raises = error
    answer = await site.client.get("/v1/servers/7")
    assert (answer.status_code, answer.json()["status"]) == (status, name)
    assert answer.json()["message"] == str(error)


async def test_a_bug_is_500_with_the_request_id_and_nothing_from_the_inside(site: Any) -> None:
    site.api.raises = ValueError("password=secret")
    answer = await site.client.get("/v1/servers/7", headers={"x-request-id": "r-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "r-1" in answer.json()["message"]


async def test_a_method_nobody_wrote_is_501(site: Any) -> None:
    for url in ("/v1/games/1", "/v1/workshop/addons/1"):
        answer = await site.client.get(url)
        assert (answer.status_code, answer.json()["status"]) == (501, "UNIMPLEMENTED")


async def test_an_unknown_path_is_404_in_the_same_shape(site: Any) -> None:
    for url in ("/v1/nothing", "/v1/servers/", "/v1/servers/1/2", "/v1//servers", "/v1/", "/nothing", "/v1"):
        answer = await site.client.get(url)
        assert (answer.status_code, answer.json()["status"]) == (404, "NOT_FOUND"), url


async def test_a_wrong_method_is_405_and_says_which_are_right(site: Any) -> None:
    answer = await site.client.put("/v1/servers/1", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, PATCH"


async def test_a_body_that_is_not_json_is_415(site: Any) -> None:
    answer = await site.client.post("/v1/sessions/5:stop", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert site.api.requests == []


async def test_a_page_of_another_site_is_refused_in_the_usual_shape(site: Any) -> None:
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil"}):
        answer = await site.client.post("/v1/sessions/5:stop", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (403, "PERMISSION_DENIED")
        assert (await site.client.get("/v1/servers/7", headers=headers)).status_code == 200
    assert (await site.client.post("/v1/sessions/5:stop", headers={"sec-fetch-site": "same-origin"})).status_code == 200
