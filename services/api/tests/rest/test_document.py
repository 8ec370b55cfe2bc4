"""The OpenAPI document and its page say what the gateway does."""

from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_spec_validator import validate

from manman.rpc.services import Service
from manman_api.rest import docs, openapi
from manman_api.rest.bindings import Table
from manman_api.rest.replies import HTTP_STATUS, MEANINGS


@pytest.fixture
def table(services: list[Service]) -> Table:
    return Table(services)


@pytest.fixture
def document(table: Table) -> dict[str, Any]:
    return openapi.document(table)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_rpc_of_the_three_services_is_in_the_document(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["x-rpc"] for operation in operations}) == 75 + 31 + 1
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_operation_says_what_it_does_and_who_may(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["x-role"] in {"viewer", "operator", "admin", "host"}


def test_the_document_says_how_callers_prove_who_they_are(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert {"bearer": []} in document["security"]


def test_every_binding_is_found_by_its_own_path(table: Table) -> None:
    for binding in table.bindings:
        path = "/".join("1" if part.startswith("{") else part for part in binding.segments)
        found = table.match(f"/{path}" + (f":{binding.verb}" if binding.verb else ""))
        assert found is not None
        assert found.bindings[binding.http_method] is binding


def test_rules_become_keywords(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    port = schemas["PortBinding"]["properties"]["host_port"]
    assert (port["minimum"], port["maximum"]) == (0, 65535)
    body = document["paths"]["/v1/servers"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["name"]["minLength"] == 1
    assert body["required"] == ["name"]


def test_an_operation_declares_each_status_that_it_can_answer(document: dict[str, Any]) -> None:
    assert {status for status in HTTP_STATUS.values() if status != 200} | {413, 415} == set(MEANINGS)
    read = document["paths"]["/v1/servers/{server_id}"]["get"]["responses"]
    assert set(read) == {"200", "400", "401", "403", "404", "409", "500", "503", "504"}
    change = document["paths"]["/v1/servers/{server_id}"]["patch"]["responses"]
    assert set(change) == set(read) | {"413", "415"}
    not_built = document["paths"]["/v1/workshop/addons/{addon_id}"]["get"]["responses"]
    assert set(not_built) == set(read) | {"501"}
    schema = document["components"]["responses"]["404"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Status"}


def test_calls_that_can_be_repeated_under_a_key_say_so_and_no_other_does(document: dict[str, Any]) -> None:
    taking = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation["parameters"]
        if (parameter["in"], parameter["name"]) == ("header", "Idempotency-Key")
    }
    assert taking == {"StartSession", "DeployGameConfig"}


def test_what_is_in_the_path_is_not_in_the_body(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/servers/{server_id}"]["patch"]
    assert [one["name"] for one in operation["parameters"]] == ["server_id"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert "server_id" not in body["properties"]


async def test_the_document_and_the_page_are_served(site: Any) -> None:
    assert (await site.client.get("/openapi.json")).json()["openapi"] == "3.1.0"
    page = await site.client.get("/", follow_redirects=True)
    assert page.url.path == "/docs"
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_page_loads_nothing_and_its_links_lead_somewhere(document: dict[str, Any]) -> None:
    class Reader(HTMLParser):
        ids: set[str | None] = set()  # noqa: RUF012 - one reader
        links: set[str] = set()  # noqa: RUF012 - one reader
        loads: list[str] = []  # noqa: RUF012 - one reader

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            named = dict(attrs)
            self.ids.add(named.get("id"))
            if tag == "a":
                self.links.add(named.get("href") or "")
            if tag in {"script", "link", "img", "iframe"} or "src" in named:
                self.loads.append(tag)

    page = docs.render(document)
    reader = Reader()
    reader.feed(page)
    assert reader.loads == []
    assert "url(" not in page
    assert {link.removeprefix("#") for link in reader.links if link.startswith("#")} <= reader.ids
    assert {link for link in reader.links if not link.startswith("#")} == {"/openapi.json"}
