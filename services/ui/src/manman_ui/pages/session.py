"""One session: what it is doing, its console, and the buttons that end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Query
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import PlainTextResponse, Response

from manman import errors
from manman_ui import console, words
from manman_ui.pages import actions
from manman_ui.web import Page, go_to

if TYPE_CHECKING:
    from manman_ui.reading import Reading
    from manman_ui.web import Web

MAX_LINES_SHOWN = 1000
MAX_LINES_DOWNLOADED = 10_000
MAX_INPUT_CHARACTERS = 4000
WANTS_JSON = "application/json"


def detail_page(session_id: int) -> Page:
    """Return the page of one session."""

    async def context(reading: Reading) -> dict[str, object]:
        session = await reading.session(session_id)
        return {
            "session": session,
            "crash": await reading.crash(session),
            "usage": await reading.usage(session),
            "max_lines": MAX_LINES_SHOWN,
            "max_input": MAX_INPUT_CHARACTERS,
            **await actions.context(reading, session_id),
        }

    return Page(
        "session.html",
        context,
        {
            "session-head": "fragments/session_head.html",
            "session-state": "fragments/session_state.html",
            "session-crash": "fragments/session_crash.html",
            "session-facts": "fragments/session_facts.html",
            "session-actions": "fragments/session_actions.html",
            "session-executions": "fragments/session_executions.html",
        },
    )


def routes(web: Web) -> APIRouter:
    """Return /sessions/{id}, its log as a stream and as text, and the forms for stop and input."""
    router = APIRouter()

    @router.get("/sessions/{session_id}")
    async def session(request: Request, session_id: int) -> Response:
        return await web.show(request, detail_page(session_id))

    @router.post("/sessions/{session_id}/stop")
    async def stop(session_id: int, force: Annotated[str, Form()] = "") -> Response:
        await web.api.stop(session_id, force=force == "yes")
        return go_to(f"/sessions/{session_id}")

    @router.get("/sessions/{session_id}/logs/stream")
    async def stream(request: Request, session_id: int, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        seen = request.headers.get("last-event-id", "")
        waiting = console.Waiting()
        reading = console.read(web.api, session_id, max(after, int(seen) if seen.isdecimal() else 0), waiting)
        return web.streams.respond(waiting.events(), beside=reading)

    @router.get("/sessions/{session_id}/log.txt")
    async def text(session_id: int) -> Response:
        lines = await console.backlog(web.api, session_id, MAX_LINES_DOWNLOADED)
        body = "".join(f"{words.stamp(line.timestamp // 1000)}  {line.source:<6}  {line.message}\n" for line in lines)
        return PlainTextResponse(body)

    @router.post("/sessions/{session_id}/input")
    async def send_input(
        request: Request,
        session_id: int,
        line: Annotated[str, Form(alias="input", max_length=MAX_INPUT_CHARACTERS)] = "",
    ) -> Response:
        with_script = WANTS_JSON in request.headers.get("accept", "")
        try:
            await web.api.send_input(session_id, line)
        except errors.ManManError as error:
            if not with_script:
                raise
            return PlainTextResponse(str(error), 409)
        return Response(status_code=204) if with_script else go_to(f"/sessions/{session_id}#console")

    return router
