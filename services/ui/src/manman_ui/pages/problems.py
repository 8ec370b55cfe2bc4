"""Errors as pages: what happened, what to do, and never a trace of our insides.

A page that could not be read because the control plane is away asks again by itself, also without scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from manman import errors
from manman.rpc.errors import RemoteFailure
from manman_ui.security import SAFE_METHODS

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from manman_ui.web import Web

RETRY_AFTER_S = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Explanation:
    """How an error is shown: HTTP status, headline, and what the reader can do. `retries`: the page asks again."""

    status: int
    title: str
    advice: str
    retries: bool = False


EXPLANATIONS: dict[type[Exception], Explanation] = {
    errors.Invalid: Explanation(400, "That cannot be right as it stands", "Correct it and send it again."),
    errors.NotFound: Explanation(404, "This is not here", "It may have been deleted, or the address is wrong."),
    errors.AlreadyExists: Explanation(409, "That exists already", "Use the one that is there."),
    errors.Conflict: Explanation(409, "Not possible right now", "Look at the current state, then decide again."),
    errors.Exhausted: Explanation(409, "Already taken", "Choose another, or free it first."),
    errors.Unauthenticated: Explanation(
        502,
        "The control plane does not know this page",
        "An administrator must give the page's service a valid API token: GRPC_AUTH_TOKEN.",
    ),
    errors.PermissionDenied: Explanation(
        403,
        "This page may not do that",
        "The API token of the page's service (GRPC_AUTH_TOKEN) needs a higher role; ask an administrator.",
    ),
    errors.Unavailable: Explanation(
        503,
        "The control plane does not answer",
        "Your games keep running. This page tries again by itself every few seconds.",
        retries=True,
    ),
    errors.TimedOut: Explanation(
        504,
        "No answer in time",
        "It may or may not have happened: look at the current state before you try again.",
        retries=True,
    ),
}
BUG = Explanation(500, "Something went wrong on our side", "Try again; if it stays, report it with the time shown.")
NO_PAGE = Explanation(404, "There is no such page", "Check the address, or start from the dashboard.")
REFUSED = Explanation(400, "The request was not understood", "Go back and try again.")


def install(app: FastAPI, web: Web) -> None:
    """Show every error of `app` as a page."""

    async def show(request: Request, error: Exception) -> Response:
        return page(web, request, error)

    for kind in (errors.ManManError, RemoteFailure, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, show)


def page(web: Web, request: Request, error: Exception) -> Response:
    """Return the page for `error`."""
    explanation = explain(error)
    if explanation is BUG:
        log.error("page_failed", path=request.url.path, exc_info=error)
    retries = explanation.retries and request.method in SAFE_METHODS
    context = {
        "title": explanation.title,
        "advice": explanation.advice if retries or not explanation.retries else "Look at the state, then try again.",
        "details": _details(error),
        "status": explanation.status,
        "retry_after_s": RETRY_AFTER_S if retries else 0,
    }
    response = web.html(request, "problem.html", context, status=explanation.status)
    if retries:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def explain(error: Exception) -> Explanation:
    """Return how `error` is shown."""
    if isinstance(error, HTTPException):
        return NO_PAGE if error.status_code == NO_PAGE.status else Explanation(error.status_code, *_refused())
    if isinstance(error, RequestValidationError):
        return NO_PAGE if any(part["loc"][0] == "path" for part in error.errors()) else REFUSED
    return next((found for kind, found in EXPLANATIONS.items() if isinstance(error, kind)), BUG)


def _refused() -> tuple[str, str]:
    return REFUSED.title, REFUSED.advice


def _details(error: Exception) -> list[str]:
    """Return what may be shown of the error itself: the words that our own error family holds for people."""
    if isinstance(error, errors.Invalid):
        return [str(problem) for problem in error.problems]
    if isinstance(error, errors.ManManError | RemoteFailure):
        return [str(error)]
    return []
