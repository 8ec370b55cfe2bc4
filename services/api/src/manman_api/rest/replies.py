"""What goes back over HTTP: JSON, and every failure in one shape.

A failure is a google.rpc.Status in JSON (`code`, `message`, `details`) plus `status`, the code's name. These tables
are the gateway's only word on HTTP status codes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.rpc import code_pb2, status_pb2
from starlette.responses import Response

from manman.rpc.chain import REQUEST_ID_KEY
from manman.rpc.errors import RETRY_AFTER_S, code_name
from manman_api.rest.json_text import text_of
from manman_api.rest.transcode import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message
    from starlette.types import Receive, Scope, Send

JSON_TYPE = "application/json"

HTTP_STATUS: dict[int, int] = {
    code_pb2.OK: 200,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.FAILED_PRECONDITION: 409,
    code_pb2.RESOURCE_EXHAUSTED: 409,
    code_pb2.INTERNAL: 500,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}

MEANINGS = {
    400: "The request is wrong: `details` names each field.",
    401: "Who calls is not known: send a token.",
    403: "The caller may not do this, or a web page of another site asked for it.",
    404: "A thing that the request names is not there.",
    409: "It cannot be done as things are: something exists already, is in use, or is in another state.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    500: "A bug of the service: its log has more under the request id.",
    501: "This version cannot do it yet.",
    503: "The service, or a part that it needs, cannot answer now: try again.",
    504: "No answer in time; what was asked for may have happened.",
}
"""Every status of a failure, and what it means; where several gRPC codes share one, `status` tells them apart."""


class JsonResponse(Response):
    """JSON values, as compact as they go."""

    media_type = JSON_TYPE

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - any JSON value
        """Return the bytes of `content`."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


class Answer:
    """An ASGI response: a message as the body of a 200. It has nothing to decide, so it is not Starlette's."""

    def __init__(self, message: Message, request_id: str) -> None:
        self.body = text_of(message).encode()
        self._request_id = request_id

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [
            (b"content-type", JSON_TYPE.encode()),
            (b"content-length", b"%d" % len(self.body)),
            (REQUEST_ID_KEY.encode(), self._request_id.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def failure_body(status: status_pb2.Status) -> dict[str, Any]:
    """Return a status as JSON values."""
    return {**to_json(status), "status": code_name(status)}


def failure(
    status: status_pb2.Status,
    request_id: str,
    *,
    http_status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a status as a response; `http_status` overrides the table for what only HTTP knows (405, 413 …)."""
    chosen = HTTP_STATUS.get(status.code, 500) if http_status is None else http_status
    all_headers = {REQUEST_ID_KEY: request_id, **(headers or {})}
    if status.code == code_pb2.UNAVAILABLE:
        all_headers["retry-after"] = str(RETRY_AFTER_S)
    if status.code == code_pb2.UNAUTHENTICATED:
        all_headers["www-authenticate"] = "Bearer"
    return JsonResponse(failure_body(status), status_code=chosen, headers=all_headers)


def refusal(
    code: int, text: str, request_id: str, http_status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a failure that HTTP itself found, before any call."""
    return failure(status_pb2.Status(code=code, message=text), request_id, http_status=http_status, headers=headers)
