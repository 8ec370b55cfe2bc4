"""Hosts: the list, and one host with what it can do, what is deployed on it and what ran lately; drain and undrain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman_ui.reading import count_by_server
from manman_ui.web import Page, go_to

if TYPE_CHECKING:
    from manman_ui.reading import Reading
    from manman_ui.web import Web


async def list_context(reading: Reading) -> dict[str, object]:
    """Return all hosts and how many live sessions each has."""
    return {"servers": await reading.servers(), "live_by_server": count_by_server(await reading.live_sessions())}


def detail_page(server_id: int) -> Page:
    """Return the page of one host."""

    async def context(reading: Reading) -> dict[str, object]:
        return {
            "server": await reading.server(server_id),
            "deployments": [each for each in await reading.deployments() if each.row.server_id == server_id],
            "sessions": await reading.sessions_of(server_id=server_id),
        }

    return Page(
        "host.html",
        context,
        {
            "host-head": "fragments/host_head.html",
            "host-facts": "fragments/host_facts.html",
            "host-deployments": "fragments/deployment_rows.html",
            "host-sessions": "fragments/session_rows.html",
        },
    )


def routes(web: Web) -> APIRouter:
    """Return /servers and /servers/{id} (the addresses people have bookmarked) and the forms that drain and undrain."""
    router = APIRouter()
    list_page = Page("hosts.html", list_context, {"hosts": "fragments/host_cards.html"})

    @router.get("/servers")
    async def hosts(request: Request) -> Response:
        return await web.show(request, list_page)

    @router.get("/servers/{server_id}")
    async def host(request: Request, server_id: int) -> Response:
        return await web.show(request, detail_page(server_id))

    @router.post("/servers/{server_id}/drain")
    async def drain(server_id: int) -> Response:
        await web.api.set_draining(server_id, draining=True)
        return go_to(f"/servers/{server_id}")

    @router.post("/servers/{server_id}/undrain")
    async def undrain(server_id: int) -> Response:
        await web.api.set_draining(server_id, draining=False)
        return go_to(f"/servers/{server_id}")

    return router
