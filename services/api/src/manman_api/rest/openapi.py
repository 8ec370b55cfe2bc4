"""The OpenAPI document of the REST API, made from the protos: paths, schemas, texts, roles and limits.

OpenAPI 3.1, because most tools read it. It has no word for the items of an event stream: the schema of such an answer
is that of one event, and `x-item-schema` names the message in it.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from manman.rpc.access import required_role
from manman.rpc.idempotency import MAX_LENGTH, PATTERN, takes_key
from manman.v1.comments import COMMENTS
from manman.v1.permissions_pb2 import Role
from manman_api.rest import examples
from manman_api.rest.bindings import WHOLE_BODY
from manman_api.rest.replies import JSON_TYPE, MEANINGS, JsonResponse
from manman_api.rest.schemas import Schemas, as_input

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import FieldDescriptor
    from starlette.requests import Request
    from starlette.responses import Response

    from manman_api.rest.bindings import Binding, Table

PATH = "/openapi.json"
VERSION = "3.1.0"

DESCRIPTION = """\
Runs game servers on many machines.

Whole numbers of 64 bits are text in answers and may be numbers or text in requests. Times are Unix seconds unless a
field says otherwise; 0 means never. Starting and stopping a session answers at once: the session's `status` tells the
rest. A failure is a google.rpc.Status with `code`, `status`, `message` and `details`, and the header `x-request-id`
names the call in the service's log. PATCH changes the fields that the body names. There is no null: leave a field out.
"""

_EVENTS = """\
Server-sent events, one message each. An event's `id` sent back as `Last-Event-ID` goes on after it; `event: end` says \
that nothing follows, `event: error` carries a Status."""

_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "id": {"type": "string", "description": "Where to go on after it."},
        "event": {"type": "string", "enum": ["message", "end", "error"]},
        "retry": {"type": "integer", "description": "Milliseconds until a browser connects again."},
    },
    "required": ["data"],
}

_BEARER = "An API token (`mm_…`) or an access token, where the service asks who calls. `x-role`: the least role."

_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "A google.rpc.Status, with the name of its code.",
    "properties": {
        "code": {"type": "integer", "description": "The gRPC status code."},
        "status": {"type": "string", "description": "Its name, for example `NOT_FOUND`."},
        "message": {"type": "string", "description": "What is wrong, for people."},
        "details": {
            "type": "array",
            "description": "The same for programs: google.rpc.BadRequest, ResourceInfo, RequestInfo …",
            "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
        },
    },
    "required": ["code", "status", "message"],
}


_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes repeating safe. Calls of one caller with one key are one call: what the first one that "
    "succeeded made is what later ones are told of, as it is by then. A key that came with another request is "
    "refused; keys are kept for a day unless the service is set up otherwise.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": PATTERN},
    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}


def document(table: Table) -> dict[str, Any]:
    """Return the document of all bindings in `table`."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for binding in table.bindings:
        operations = paths.setdefault(_public(binding), {})
        operations[binding.http_method.lower()] = _operation(binding, schemas, table)
    tags = dict.fromkeys(operation["tags"][0] for path in paths.values() for operation in path.values())
    return {
        "openapi": VERSION,
        "info": {"title": "ManMan", "version": metadata.version("manman-api"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "security": [{"bearer": []}, {}],
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _BEARER}},
            "schemas": {**dict(sorted(schemas.components.items())), "Status": _ERROR},
            "responses": {str(status): _failure(text) for status, text in MEANINGS.items()},
        },
    }


def endpoint(document: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that serves `document`."""

    async def openapi(_request: Request) -> Response:
        return JsonResponse(document)

    return openapi


def _public(binding: Binding) -> str:
    """Return the path with the last part of each variable: `{action.action_id}` and `{action_id}` are one path."""
    path = binding.template
    for variable in binding.variables:
        path = path.replace(f"{{{variable}}}", f"{{{variable.rpartition('.')[2]}}}")
    return path


def _operation(binding: Binding, schemas: Schemas, table: Table) -> dict[str, Any]:
    method = binding.method
    text = COMMENTS.get(method.full_name, method.name)
    summary, _, rest = text.partition(". ")
    role = Role.Name(required_role(method)).removeprefix("ROLE_").lower()
    first = next(one for one in table.bindings if one.method is method)
    operation: dict[str, Any] = {
        "operationId": method.name if binding is first else f"{method.name}{table.bindings.index(binding)}",
        "summary": summary.rstrip("."),
        "description": f"{rest}\n\nNeeds the role {role}.".strip(),
        "tags": [_tag(binding)],
        "parameters": [
            *_path_parameters(binding, schemas),
            *_query_parameters(binding, schemas),
            *([_IDEMPOTENCY_KEY] if takes_key(method) else []),
        ],
        "responses": {"200": _success(binding, schemas), **_failures(binding)},
        "x-role": role,
        "x-rpc": method.full_name,
    }
    if binding.body:
        operation["requestBody"] = _body(binding, schemas)
    return operation


def _tag(binding: Binding) -> str:
    first = binding.segments[1]
    return "Workshop" if first == "workshop" else first.replace("-", " ").capitalize()


def _path_parameters(binding: Binding, schemas: Schemas) -> list[dict[str, Any]]:
    parameters = []
    for variable in binding.variables:
        *parents, last = variable.split(".")
        message: Any = binding.method.input_type
        for name in parents:
            message = message.fields_by_name[name].message_type
        parameters.append({**_parameter(message.fields_by_name[last], schemas), "in": "path", "required": True})
    return parameters


def _query_parameters(binding: Binding, schemas: Schemas) -> list[dict[str, Any]]:
    if binding.body == WHOLE_BODY:
        return []
    required = schemas.required(binding.method.input_type)
    fields = [
        field
        for field in binding.method.input_type.fields
        if field.name not in (*binding.variables, binding.body) and field.message_type is None
    ]
    return [
        {**_parameter(field, schemas), "in": "query", **({"required": True} if field.name in required else {})}
        for field in fields
    ]


def _parameter(field: FieldDescriptor, schemas: Schemas) -> dict[str, Any]:
    schema = as_input(schemas.field(field))
    text = schema.pop("description", "")
    parameter: dict[str, Any] = {"name": field.name, "schema": schema}
    return {**parameter, "description": text} if text else parameter


def _body(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    if binding.body == WHOLE_BODY:
        schema = schemas.request_body(binding.method.input_type, binding.variables)
    else:
        schema = schemas.field(binding.method.input_type.fields_by_name[binding.body])
    content: dict[str, Any] = {"schema": schema}
    if binding.body == WHOLE_BODY and (example := examples.of_request(binding.method.input_type, binding.variables)):
        content["example"] = example
    return {"required": bool(schema.get("required")), "content": {JSON_TYPE: content}}


def _failures(binding: Binding) -> dict[str, Any]:
    """Return every failure that the operation may answer with."""
    absent = set()
    if not binding.body:
        absent |= {413, 415}
    if binding.service.has(binding.method):
        absent.add(501)
    found = [status for status in MEANINGS if status not in absent]
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in found}


def _failure(text: str) -> dict[str, Any]:
    return {"description": text, "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Status"}}}}


def _success(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    output = binding.method.output_type
    reference = schemas.reference(output)
    text = COMMENTS.get(output.full_name, "") or "The answer."
    if not binding.method.server_streaming:
        return {"description": text, "content": {JSON_TYPE: {"schema": reference}}}
    message = {"type": "string", "contentMediaType": JSON_TYPE, "contentSchema": reference}
    stream = {"schema": {**_EVENT, "properties": {**_EVENT["properties"], "data": message}}, "x-item-schema": reference}
    return {"description": f"{text} {_EVENTS}", "content": {"text/event-stream": stream}}
