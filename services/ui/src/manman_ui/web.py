"""What every page is made with: a template, the fragments of it that change, and how they reach a browser.

A `Page` is rendered twice from one context: whole, for a request that wants HTML, and in fragments, for the same
address asked for as an event stream. That is why a page and its live updates cannot disagree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from starlette.responses import HTMLResponse, RedirectResponse

from manman import clock
from manman.domain.environment import names_a_secret
from manman_ui import words
from manman_ui.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from manman_ui.api_client import ApiClient
    from manman_ui.live import Live
    from manman_ui.streaming import Streams

    Context = Mapping[str, object]

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True)
class Page:
    """A screen: its template, its context, and which elements of it (by id) are which fragment template."""

    template: str
    context: Callable[[Reading], Awaitable[Context]]
    fragments: Mapping[str, str] = field(default_factory=dict)


class Web:
    """The parts that pages share; built once by the composition root."""

    def __init__(self, api: ApiClient, live: Live, streams: Streams) -> None:
        self.api = api
        self.live = live
        self.streams = streams
        self.templates = environment()

    async def show(self, request: Request, page: Page) -> Response:
        """Answer with the page, or with the stream of its changes when the browser asks for that."""
        if page.fragments and "text/event-stream" in request.headers.get("accept", ""):

            async def render(reading: Reading) -> dict[str, str]:
                context = {**await page.context(reading), "now": reading.now}
                return {name: self.render(template, context) for name, template in page.fragments.items()}

            address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return self.streams.respond(self.live.follow(address, render))
        reading = Reading(self.api, clock.now())
        context = {**await page.context(reading), "now": reading.now, "follows": bool(page.fragments)}
        return self.html(request, page.template, context)

    def html(self, request: Request, template: str, context: Context, *, status: int = 200) -> HTMLResponse:
        """Answer with a whole page."""
        basics = {"path": request.url.path, "query": request.url.query, "follows": False, "now": clock.now()}
        response = HTMLResponse(self.render(template, {**basics, **context}), status)
        response.headers["Vary"] = "Accept"
        return response

    def render(self, template: str, context: Context) -> str:
        """Return a template filled in, everything escaped."""
        return self.templates.get_template(template).render(context)


def go_to(path: str) -> Response:
    """Answer a form with the page to look at next. `path` is ours, never taken from the request."""
    return RedirectResponse(path, 303)


def environment() -> jinja2.Environment:
    """Return the templates: escaping always on, unknown names are errors."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        ago=words.ago,
        duration=words.duration,
        label=words.label,
        machine_stamp=words.machine_stamp,
        memory=words.memory,
        phase=words.phase,
        restart_policy=words.restart_policy,
        plural=words.plural,
        reason=words.reason,
        stamp=words.stamp,
        tone=words.tone,
    )
    templates.tests["naming_a_secret"] = names_a_secret
    templates.globals["asset"] = _asset_address
    return templates


_FINGERPRINTS: dict[str, str] = {
    path.relative_to(STATIC).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    for path in STATIC.rglob("*")
    if path.is_file()
}


def _asset_address(name: str) -> str:
    """Return the address of a static file; it changes with the content, so browsers may keep it for ever."""
    return f"/static/{name}?v={_FINGERPRINTS[name]}"
