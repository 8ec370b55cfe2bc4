"""Pages that keep themselves current: one poller for all viewers, which runs only while somebody looks.

Each second the poller makes one reading of the API, renders the fragments of every page that is being watched and
offers each viewer those that differ from what that viewer has. A viewer holds at most one pending version of each
fragment, the newest: that is its bound, and a slow viewer simply sees fewer steps.

While the API does not answer, viewers keep the last known state and see a note above it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from manman import clock
from manman.errors import ManManError, NotFound
from manman.rpc.errors import RemoteFailure
from manman_ui.reading import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from manman_ui.api_client import ApiClient

    Fragments = Mapping[str, str]
    """HTML by the id of the element that holds it."""
    Render = Callable[[Reading], Awaitable[Fragments]]

KEEP_ALIVE_S = 15.0
NOTE = "notice"
"""Id of the element, on every page, that says when the state shown is old."""

AWAY = '<p class="note note-warn">The control plane does not answer. You see the last known state.</p>'
GONE = '<p class="note note-warn">What this page shows was deleted. You see its last known state.</p>'

_TIME_TEXT = re.compile(r"(<time\b[^>]*>)[^<]*")

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Viewer:
    """One browser page that follows. `path` is the page's address: viewers of one address share the rendering."""

    path: str
    render: Render
    sent: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, fragments: Fragments) -> None:
        """Note what differs from what this viewer has. Running clocks do not count: the page turns them itself."""
        for name, html in fragments.items():
            if self.sent.get(name) != (seen := _TIME_TEXT.sub(r"\1", html)):
                self.sent[name] = seen
                self.pending[name] = html
                self.arrived.set()


class Live:
    """Everybody who looks, and the poller that serves them. `run()` it in a task group."""

    def __init__(self, api: ApiClient, *, interval_s: float) -> None:
        self._api = api
        self._interval_s = interval_s
        self._viewers: set[Viewer] = set()
        self._watched = asyncio.Event()
        self._in_trouble = False

    @property
    def viewers(self) -> int:
        """How many pages follow now."""
        return len(self._viewers)

    async def run(self) -> None:
        """Poll for ever, while somebody looks."""
        while True:
            await self._watched.wait()
            await self._look()
            await asyncio.sleep(self._interval_s)

    async def follow(self, path: str, render: Render) -> AsyncGenerator[str, None]:
        """Yield server-sent events for one viewer of `path` until it leaves."""
        with self._viewing(Viewer(path, render)) as viewer:
            yield "retry: 2000\n\n"
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await viewer.arrived.wait()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                viewer.arrived.clear()
                changed, viewer.pending = viewer.pending, {}
                yield _event(changed)

    @contextlib.contextmanager
    def _viewing(self, viewer: Viewer) -> Iterator[Viewer]:
        self._viewers.add(viewer)
        self._watched.set()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._watched.clear()

    async def _look(self) -> None:
        reading = Reading(self._api, clock.now())
        rendered: dict[str, Fragments] = {}
        for viewer in list(self._viewers):
            if viewer.path not in rendered:
                rendered[viewer.path] = await self._rendered(viewer, reading)
            viewer.offer(rendered[viewer.path])

    async def _rendered(self, viewer: Viewer, reading: Reading) -> Fragments:
        try:
            fragments = {NOTE: "", **await viewer.render(reading)}
        except NotFound:
            return {NOTE: GONE}
        except (ManManError, RemoteFailure) as error:
            if not self._in_trouble:
                log.warning("looks_fail", path=viewer.path, error=str(error))
            self._in_trouble = True
            return {NOTE: AWAY}
        if self._in_trouble:
            log.info("looks_work_again")
        self._in_trouble = False
        return fragments


def _event(fragments: Fragments) -> str:
    """Return one unnamed event; htmx puts each part where it belongs and keeps what did not change."""
    html = "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{body}</hx-partial>' for name, body in fragments.items()
    )
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
