"""The dashboard: what runs, on which hosts, and what ended lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman_ui.reading import count_by_server
from manman_ui.web import Page

if TYPE_CHECKING:
    from manman_ui.reading import Reading
    from manman_ui.web import Web

RECENT = 6

PAGE_FRAGMENTS = {
    "summary": "fragments/summary.html",
    "live-sessions": "fragments/live_sessions.html",
    "hosts": "fragments/host_cards.html",
    "recent": "fragments/recent_sessions.html",
}


async def context(reading: Reading) -> dict[str, object]:
    """Return the numbers, the live sessions, the hosts and the newest ended sessions."""
    servers = await reading.servers()
    live = await reading.live_sessions()
    return {
        "servers": servers,
        "live": live,
        "recent": await reading.recently_ended(RECENT),
        "deployments": await reading.deployments(),
        "games": await reading.games(),
        "running": sum(1 for session in live if session.row.status == "running"),
        "online": sum(1 for server in servers if server.status == "online"),
        "live_by_server": count_by_server(live),
    }


def routes(web: Web) -> APIRouter:
    """Return the dashboard at /."""
    router = APIRouter()
    page = Page("dashboard.html", context, PAGE_FRAGMENTS)

    @router.get("/")
    async def dashboard(request: Request) -> Response:
        return await web.show(request, page)

    return router
