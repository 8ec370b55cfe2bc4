"""The session list, filtered by status, host and deployment. The address holds the filter, so it can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it at run time

from manman_ui.web import Page

if TYPE_CHECKING:
    from manman_ui.reading import Reading
    from manman_ui.web import Web

STATUSES = ("pending", "starting", "running", "stopping", "stopped", "crashed", "completed", "lost")


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to. `status` is a comma-separated list of statuses, or `live`; 0 filters nothing."""

    status: str = ""
    server_id: int = 0
    deployment_id: int = 0
    page_token: str = ""

    @property
    def live_only(self) -> bool:
        """Whether only live sessions are wanted."""
        return self.status == "live"

    @property
    def statuses(self) -> tuple[str, ...]:
        """The wanted statuses; words that are none are ignored."""
        return tuple(word for word in self.status.split(",") if word in STATUSES)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return not (self.statuses or self.live_only or self.server_id or self.deployment_id)

    def address(self, **changes: object) -> str:
        """Return the list's address with `changes` made to this filter; a change starts at the first page."""
        values = {
            "status": self.status,
            "server_id": self.server_id,
            "sgc_id": self.deployment_id,
            "page_token": "",
            **changes,
        }
        query = urlencode({name: value for name, value in values.items() if value})
        return f"/sessions?{query}" if query else "/sessions"


def list_page(chosen: Filter) -> Page:
    """Return the list with that filter. Only the first page follows live: later ones would shift while read."""

    async def context(reading: Reading) -> dict[str, object]:
        sessions, next_token = await reading.session_page(
            statuses=chosen.statuses,
            live_only=chosen.live_only,
            server_id=chosen.server_id,
            deployment_id=chosen.deployment_id,
            page_token=chosen.page_token,
        )
        return {
            "sessions": sessions,
            "next_token": next_token,
            "chosen": chosen,
            "servers": await reading.servers(),
            "deployments": await reading.deployments(),
        }

    fragments = {} if chosen.page_token else {"sessions": "fragments/session_rows.html"}
    return Page("sessions.html", context, fragments)


def routes(web: Web) -> APIRouter:
    """Return /sessions."""
    router = APIRouter()

    @router.get("/sessions")
    async def sessions(
        request: Request,
        *,
        status: str = "",
        server_id: Annotated[str, Query(pattern="^[0-9]*$", max_length=18)] = "",
        sgc_id: Annotated[str, Query(pattern="^[0-9]*$", max_length=18)] = "",
        live_only: str = "",
        page_token: str = "",
    ) -> Response:
        chosen = Filter(
            status="live" if live_only in {"1", "true"} else status,
            server_id=int(server_id or 0),
            deployment_id=int(sgc_id or 0),
            page_token=page_token,
        )
        return await web.show(request, list_page(chosen))

    return router
