"""Web pages of other sites change nothing unless their origin is allowed, and read nothing either."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from manman_api.rest.origins import may_call
from manman_api.settings import Settings

from .conftest import served

OURS = "https://games.example.org"
ALLOWED = {OURS}
BODY = {"name": "host"}


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),  # a program, no browser
        ({"sec-fetch-site": "same-origin", "origin": "https://api"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil"}, False),
        ({"sec-fetch-site": "same-site", "origin": "https://evil.example.org"}, False),
        ({"sec-fetch-site": "cross-site", "origin": OURS}, True),
        ({"sec-fetch-site": "cross-site", "origin": OURS + ":8443"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://games.example.org"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        # without TLS browsers only send the origin
        ({"origin": "http://evil", "host": "api:8080"}, False),
        ({"origin": "http://api:8080", "host": "api:8080"}, True),
        ({"origin": "http://api", "host": "api:8080"}, False),
        ({"origin": "null", "host": "api:8080"}, False),
        ({"origin": OURS, "host": "api:8080"}, True),
    ],
)
def test_who_may_change_something(headers: dict[str, str], may: bool) -> None:  # noqa: FBT001 - a column of the table
    assert [may_call(method, headers, ALLOWED) for method in ("POST", "PUT", "PATCH", "DELETE")] == [may] * 4
    assert may_call("GET", headers, ALLOWED)
    assert may_call("HEAD", headers, ALLOWED)


@pytest.fixture
async def open_to_ours(database_url: str, amqp_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of an api that allows one origin."""
    async with served(database_url, amqp_url, rest_cors_origins=(OURS,)) as api:
        address = f"http://127.0.0.1:{api.addresses.rest}"
        async with httpx2.AsyncClient(base_url=address, trust_env=False) as client:
            yield client


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,idempotency-key",
    }


async def test_a_page_of_an_allowed_origin_may_ask_send_and_read(open_to_ours: httpx2.AsyncClient) -> None:
    asked = await open_to_ours.request("OPTIONS", "/v1/servers", headers=preflight(OURS))
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == OURS
    assert "idempotency-key" in asked.headers["access-control-allow-headers"].lower()
    sent = await open_to_ours.post("/v1/servers", json=BODY, headers={"origin": OURS, "sec-fetch-site": "cross-site"})
    assert sent.status_code == 200, sent.text
    assert sent.headers["access-control-allow-origin"] == OURS
    assert "x-request-id" in sent.headers["access-control-expose-headers"]
    refused = await open_to_ours.post("/v1/servers", json={}, headers={"origin": OURS})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, OURS)


async def test_cookies_are_never_allowed(open_to_ours: httpx2.AsyncClient) -> None:
    for answer in (
        await open_to_ours.request("OPTIONS", "/v1/servers", headers=preflight(OURS)),
        await open_to_ours.get("/v1/servers", headers={"origin": OURS}),
    ):
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_of_an_origin_that_is_not_allowed_gets_nothing(open_to_ours: httpx2.AsyncClient) -> None:
    other = "https://evil.example.org"
    asked = await open_to_ours.request("OPTIONS", "/v1/servers", headers=preflight(other))
    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    read = await open_to_ours.get("/v1/servers", headers={"origin": other})
    assert "access-control-allow-origin" not in read.headers
    assert (await open_to_ours.post("/v1/servers", json=BODY, headers={"origin": other})).status_code == 403


async def test_without_the_setting_no_page_is_answered(api: Any) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{api.addresses.rest}", trust_env=False) as client:
        asked = await client.request("OPTIONS", "/v1/servers", headers=preflight(OURS))
        read = await client.get("/v1/servers", headers={"origin": OURS})
    assert asked.status_code == 405
    assert not [name for answer in (asked, read) for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["*", "null", "games.example.org", OURS + "/", "https://*.example.org"])
def test_what_is_no_origin_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ValueError, match="scheme://host"):
        Settings(rest_cors_origins=f"http://localhost:3000,{origin}")


def test_origins_are_read_with_commas() -> None:
    read = Settings(rest_cors_origins=f" {OURS} , http://localhost:3000,http://[::1]:80 ").rest_cors_origins
    assert read == (OURS, "http://localhost:3000", "http://[::1]:80")
