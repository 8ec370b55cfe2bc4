"""REST, derived from the protos: an ASGI endpoint that turns each HTTP request into a call through the chain.

Nothing here knows a single RPC. Paths come from `google.api.http` (bindings), values from path, query and JSON body
(transcode), the answer goes back as JSON or as server-sent events. The servicer is called in process, through the
same chain as over gRPC: the two are one API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from google.rpc import code_pb2
from starlette.responses import RedirectResponse
from starlette.routing import Route

from manman.rpc.chain import REQUEST_ID_KEY, request_id_of
from manman.rpc.errors import CallFailed, to_failure
from manman.rpc.services import type_of
from manman_api.rest import docs, openapi, origins
from manman_api.rest.bindings import Table
from manman_api.rest.bodies import Refused, read_body
from manman_api.rest.events import NUMBER_FIELD, EventStream
from manman_api.rest.replies import Answer, failure, refusal
from manman_api.rest.transcode import read_request

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastapi import FastAPI
    from google.protobuf.message import Message
    from starlette.types import ASGIApp, Receive, Scope, Send

    from manman.rpc.chain import Chain
    from manman.rpc.services import Service
    from manman_api.rest.bindings import Binding, Match

PREFIX = "/v1"
RESUME_FIELD = f"after_{NUMBER_FIELD}"


def build(app: FastAPI, services: Sequence[Service], chain: Chain, allowed_origins: Collection[str] = ()) -> None:
    """Add the REST API of `services` to `app`: everything below /v1, the document /openapi.json and the page /docs.

    Pages of `allowed_origins` may call it from a browser. What no other route of `app` takes is refused in the
    gateway's shape; `/` leads to the page.
    """
    table = Table(services)
    document = openapi.document(table)
    gateway = Gateway(table, chain, allowed_origins)
    app.router.routes[:0] = [
        Route(PREFIX + "/{path:path}", gateway, include_in_schema=False),
        Route("/", RedirectResponse(docs.PATH), include_in_schema=False),
        Route(openapi.PATH, openapi.endpoint(document), include_in_schema=False),
        Route(docs.PATH, docs.endpoint(document), include_in_schema=False),
    ]
    elsewhere = app.router.default

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await (gateway if scope["type"] == "http" else elsewhere)(scope, receive, send)

    app.router.default = refuse
    app.router.redirect_slashes = False  # a path with a slash too many is a wrong path


class Gateway:
    """The ASGI endpoint of everything below PREFIX."""

    def __init__(self, table: Table, chain: Chain, allowed_origins: Collection[str] = ()) -> None:
        self._table = table
        self._chain = chain
        self._allowed_origins = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        metadata = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        request_id = metadata[REQUEST_ID_KEY] = request_id_of(metadata)
        try:
            response = await self._respond(scope, receive, metadata, request_id)
        except Refused as refused:
            response = refused.response
        except CallFailed as failed:
            response = failure(failed.status, request_id)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, metadata: dict[str, str], request_id: str) -> ASGIApp:
        match = self._table.match(scope["path"])
        if match is None:
            text = f"there is nothing at {scope['path']}; see /docs for what there is"
            raise Refused(refusal(code_pb2.NOT_FOUND, text, request_id, 404))
        binding = _choose(match, scope["method"], request_id)
        if not origins.may_call(binding.http_method, metadata, self._allowed_origins):
            text = "pages of other sites may not change anything here; see REST_CORS_ORIGINS"
            raise Refused(refusal(code_pb2.PERMISSION_DENIED, text, request_id, 403))
        body = await read_body(receive, metadata, request_id)
        request = type_of(binding.method.input_type)()
        try:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            read_request(binding, request, match.values, query, body)
        except Exception as error:
            raise to_failure(error, request_id) from error
        return await self._call(binding, request, metadata, request_id)

    async def _call(self, binding: Binding, request: Message, metadata: dict[str, str], request_id: str) -> ASGIApp:
        handler = binding.service.unary(binding.method)
        if binding.method.server_streaming:
            _resume(request, metadata.get("last-event-id", ""))
            return EventStream(self._chain.stream(binding.method, request, metadata, handler), request_id)
        return Answer(await self._chain.call(binding.method, request, metadata, handler), request_id)


def _choose(match: Match, http_method: str, request_id: str) -> Binding:
    if http_method in match.bindings:
        return match.bindings[http_method]
    if http_method == "HEAD" and "GET" in match.bindings and not match.bindings["GET"].method.server_streaming:
        return match.bindings["GET"]
    allowed = ", ".join(sorted(match.bindings))
    text = f"{http_method} is not possible here; {allowed} is"
    raise Refused(refusal(code_pb2.UNIMPLEMENTED, text, request_id, 405, {"allow": allowed}))


def _resume(request: Message, last_event_id: str) -> None:
    """Go on after the last event that the client saw, unless it asked for a later one."""
    if RESUME_FIELD in request.DESCRIPTOR.fields_by_name and last_event_id.isascii() and last_event_id.isdecimal():
        seen = min(int(last_event_id[:20]), 2**63 - 1)
        setattr(request, RESUME_FIELD, max(seen, getattr(request, RESUME_FIELD)))
