"""Probes on the pages' own port, for whoever can only reach that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from manman.health import Health


def routes(health: Health) -> APIRouter:
    """Return /health and /livez (this process turns) and /readyz (and the API answers)."""
    router = APIRouter()

    @router.get("/health")
    @router.get("/livez")
    async def alive() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    async def ready() -> JSONResponse:
        problems = await health.problems()
        status = "not ready" if problems else "ready"
        return JSONResponse({"status": status, "problems": problems}, 503 if problems else 200)

    return router
