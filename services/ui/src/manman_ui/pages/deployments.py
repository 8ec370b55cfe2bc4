"""Deployments: a config on a host with its ports, and the place where games are started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman import clock
from manman.errors import Conflict, Invalid
from manman_ui.reading import Reading
from manman_ui.web import Page, go_to

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from manman_ui.web import Web

PARAMETER_PREFIX = "parameter."


async def list_context(reading: Reading) -> dict[str, object]:
    """Return all deployments."""
    return {"deployments": await reading.deployments()}


def detail_page(deployment_id: int) -> Page:
    """Return the page of one deployment."""

    async def context(reading: Reading) -> dict[str, object]:
        return {
            "deployment": await reading.deployment(deployment_id),
            "sessions": await reading.sessions_of(deployment_id=deployment_id),
        }

    return Page(
        "deployment.html",
        context,
        {
            "deployment-head": "fragments/deployment_head.html",
            "deployment-restart": "fragments/deployment_restart.html",
            "deployment-sessions": "fragments/session_rows.html",
        },
    )


def routes(web: Web) -> APIRouter:
    """Return /deployments, /sgc/{id} (the address people have bookmarked), and the forms that start, and call off."""
    router = APIRouter()
    list_page = Page("deployments.html", list_context, {"deployments": "fragments/deployment_rows.html"})

    @router.get("/deployments")
    async def deployments(request: Request) -> Response:
        return await web.show(request, list_page)

    @router.get("/deployments/{deployment_id}")
    @router.get("/sgc/{deployment_id}")
    async def deployment(request: Request, deployment_id: int) -> Response:
        return await web.show(request, detail_page(deployment_id))

    @router.post("/deployments/{deployment_id}/start")
    async def start(request: Request, deployment_id: int) -> Response:
        async with request.form(max_files=0, max_fields=200) as form:
            parameters = chosen_parameters(form)
            force = form.get("force") == "yes"
        try:
            session = await web.api.start(deployment_id, parameters, force=force)
        except (Conflict, Invalid) as error:
            return await _not_started(web, request, deployment_id, parameters, error)
        return go_to(f"/sessions/{session.session_id}")

    @router.post("/deployments/{deployment_id}/call-off")
    async def call_off(deployment_id: int) -> Response:
        restart = (await Reading(web.api, clock.now()).deployment(deployment_id)).restart
        if restart is not None:
            await web.api.stop(restart.session_id, force=False)
        return go_to(f"/deployments/{deployment_id}")

    return router


def chosen_parameters(form: FormData) -> dict[str, str]:
    """Return the parameters that somebody filled in; an empty field means: as declared."""
    return {
        name.removeprefix(PARAMETER_PREFIX): value
        for name, value in form.multi_items()
        if name.startswith(PARAMETER_PREFIX) and isinstance(value, str) and value
    }


async def _not_started(
    web: Web, request: Request, deployment_id: int, parameters: dict[str, str], error: Conflict | Invalid
) -> Response:
    """Say why, and offer the way out: force when a session is in the way, other values when those were wrong."""
    reading = Reading(web.api, clock.now())
    deployment = await reading.deployment(deployment_id)
    problems = [str(problem) for problem in error.problems] if isinstance(error, Invalid) else [str(error)]
    context = {"deployment": deployment, "parameters": parameters, "problems": problems, "now": reading.now}
    return web.html(request, "not_started.html", context, status=409 if isinstance(error, Conflict) else 400)
