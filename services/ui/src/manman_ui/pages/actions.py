"""The actions of a session: buttons and forms that type a command into its game, and what became of them.

An action that wants a confirmation, or that was refused, is a page of its own: the question, or what is wrong, with
everything that was filled in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman import clock
from manman.errors import NotFound
from manman_ui.reading import Reading
from manman_ui.web import go_to

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from manman.v1.actions_pb2 import ActionDefinition
    from manman_ui.web import Web

INPUT_PREFIX = "input."
MAX_EXECUTIONS_SHOWN = 10


async def context(reading: Reading, session_id: int) -> dict[str, object]:
    """Return what a session's page shows of its actions."""
    return {
        "actions": await reading.actions(session_id),
        "executions": await reading.executions(session_id, MAX_EXECUTIONS_SHOWN),
    }


def routes(web: Web) -> APIRouter:
    """Return the forms that run actions."""
    router = APIRouter()

    @router.post("/sessions/{session_id}/actions/{action_id}")
    async def run(request: Request, session_id: int, action_id: int) -> Response:
        async with request.form(max_files=0, max_fields=200) as form:
            values = filled_in(form)
            is_confirmed = form.get("confirmed") == "yes"
        reading = Reading(web.api, clock.now())
        action = await _offered(reading, session_id, action_id)
        problem = ""
        if is_confirmed or not action.requires_confirmation:
            answer = await web.api.execute(session_id, action_id, values)
            if answer.success:
                return go_to(f"/sessions/{session_id}#executions")
            problem = answer.error_message
        question = {
            "session": await reading.session(session_id),
            "action": action,
            "values": values,
            "problem": problem,
            "now": reading.now,
        }
        return web.html(request, "action.html", question, status=409 if problem else 200)

    return router


def filled_in(form: FormData) -> dict[str, str]:
    """Return the inputs of an action; of two with one name (a box and what it is unchecked) the last counts."""
    return {
        name.removeprefix(INPUT_PREFIX): value
        for name, value in form.multi_items()
        if name.startswith(INPUT_PREFIX) and isinstance(value, str)
    }


async def _offered(reading: Reading, session_id: int, action_id: int) -> ActionDefinition:
    for action in await reading.actions(session_id):
        if action.action_id == action_id:
            return action
    raise NotFound("action that this session offers now:", action_id)
