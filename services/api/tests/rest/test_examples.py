"""The document's examples are right, complete, and work on a platform of which they tell the story."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google.protobuf import json_format

from manman import clock
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages.status import OutputLine
from manman.rpc.services import Service, type_of
from manman.v1 import (
    access_control_pb2,
    access_control_pb2_grpc,
    dead_letters_pb2,
    dead_letters_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
)
from manman_api.rest import examples, openapi
from manman_api.rest.bindings import Binding, Table
from manman_api.rest.transcode import read_request
from manman_api.validation import request_rules

STORY = [
    ("CreateGame", None),
    ("CreateGameConfig", None),
    ("CreateGameConfigVolume", None),
    ("CreateConfigurationStrategy", None),
    ("CreateConfigurationPatch", None),
    ("CreateActionDefinition", None),
    ("RegisterServer", None),
    ("ValidateDeployment", "valid"),
    ("DeployGameConfig", None),
    ("StartSession", None),
    ("GetSession", None),
    ("GetSessionConfiguration", None),
    ("PreviewConfiguration", None),
    ("GetSessionActions", None),
    ("UpdateGame", None),
    ("UpdateGameConfig", None),
    ("UpdateGameConfigVolume", None),
    ("UpdateServer", None),
    ("UpdateServerGameConfig", None),
    ("UpdateConfigurationStrategy", None),
    ("UpdateConfigurationPatch", None),
    ("UpdateActionDefinition", None),
    ("BatchUpdateServerGameConfigs", None),
    ("GetEffectiveEnv", None),
    ("Heartbeat", None),
    ("StopSession", None),
    ("CreateApiToken", None),
    ("RevokeApiToken", None),
    ("DrainServer", None),
    ("UndrainServer", None),
]
"""What people do one after the other, and what in the answer must be true."""


@pytest.fixture
def table(services: list[Service]) -> Table:
    """Return the paths of everything that REST serves."""
    access = access_control_pb2_grpc.AccessControlServicer()
    letters = dead_letters_pb2_grpc.DeadLettersServicer()
    return Table(
        [
            *services,
            Service(access_control_pb2.DESCRIPTOR.services_by_name["AccessControl"], access),
            Service(dead_letters_pb2.DESCRIPTOR.services_by_name["DeadLetters"], letters),
            Service(events_pb2.DESCRIPTOR.services_by_name["Events"], events_pb2_grpc.EventsServicer()),
        ]
    )


def value_in(parameter: dict[str, Any]) -> str:
    return str(parameter.get("example") or parameter["schema"]["examples"][0])


def request_of(operation: dict[str, Any], path: str) -> tuple[str, list[tuple[str, str]], Any]:
    """Return path, query and body of an operation's examples; of the query only what must be there."""
    query = []
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", value_in(parameter))
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append((parameter["name"], value_in(parameter)))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    return path, query, body


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation


def test_every_example_of_a_request_is_read_and_passes_the_rules(table: Table) -> None:
    problems_of = request_rules()
    document = openapi.document(table)
    for path, verb, operation in operations(document):
        url, query, body = request_of(operation, path)
        found = table.match(url)
        assert found is not None
        binding: Binding = found.bindings[verb.upper()]
        request = type_of(binding.method.input_type)()
        text = b"" if body is None else json.dumps(body).encode()
        read_request(binding, request, found.values, query, text)
        assert problems_of(request) == [], operation["operationId"]


def test_every_optional_parameter_has_a_right_example_too(table: Table) -> None:
    problems_of = request_rules()
    for path, verb, operation in operations(openapi.document(table)):
        url, _, _ = request_of(operation, path)
        found = table.match(url)
        assert found is not None
        for parameter in operation["parameters"]:
            if parameter["in"] != "query" or parameter["schema"].get("type") == "boolean":
                continue
            value = parameter["schema"]["examples"][0]
            texts = value if isinstance(value, list) else [value]
            binding = found.bindings[verb.upper()]
            request = type_of(binding.method.input_type)()
            json_format.ParseDict({parameter["name"]: texts if isinstance(value, list) else value}, request)
            named = {problem.field.split("[")[0] for problem in problems_of(request)}
            assert parameter["name"] not in named, operation["operationId"]


def test_every_field_but_yes_and_no_has_an_example(table: Table) -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in openapi.document(table)["components"]["schemas"].items()
        for field, part in schema.get("properties", {}).items()
        if name != "Status"
        and "$ref" not in part
        and "$ref" not in part.get("items", {})
        and part["type"] != "boolean"
        and "examples" not in part
    ]
    assert missing == [], "tell one in manman_api/rest/examples.py"


def test_every_example_belongs_to_a_field(table: Table) -> None:
    fields: set[str] = set()
    for binding in table.bindings:
        for message in (binding.method.input_type, binding.method.output_type):
            fields |= names_below(message, set())
    assert sorted({*examples.EXAMPLES, *examples.NOT_IN_REQUESTS} - fields) == []


def names_below(message: Any, seen: set[str]) -> set[str]:
    if message.full_name in seen:
        return set()
    seen.add(message.full_name)
    names: set[str] = set()
    for field in message.fields:
        names |= set(examples._names(field))
        if field.message_type is not None:
            names |= names_below(field.message_type, seen)
    return names


async def crash(uow: Any, session_id: int) -> None:
    """Have a session crash as the processor writes it down."""
    last_words = OutputLine(message="Segmentation fault", source="stderr")
    change = Change(status=Status.CRASHED, exit_code=139, signal=11, reason="signal", last_lines=[last_words])
    async with uow() as tx:
        await transitions.apply(tx, await tx.sessions.lock(session_id), change, now=clock.now())
        await tx.commit()


async def test_the_examples_are_a_story_that_works(api: Any, uow: Any, put_away: Any) -> None:
    address = f"http://127.0.0.1:{api.addresses.rest}"
    async with httpx2.AsyncClient(base_url=address, trust_env=False) as client:
        document = (await client.get("/openapi.json")).json()
        by_name = {operation["operationId"]: (path, verb, operation) for path, verb, operation in operations(document)}
        for name, true in STORY:
            path, verb, operation = by_name[name]
            url, query, body = request_of(operation, path)
            answer = await client.request(verb, url, params=query, json=body)
            assert answer.status_code == 200, f"{name}: {answer.text}"
            assert true is None or answer.json()[true], f"{name}: {answer.text}"
        await crash(uow, 1)
        assert await put_away({}) == [1]
        for name, (path, verb, operation) in by_name.items():
            if re.match("Get|List", name):
                url, query, body = request_of(operation, path)
                answer = await client.request(verb, url, params=query, json=body)
                assert answer.status_code in {200, 501}, f"{name}: {answer.text}"
