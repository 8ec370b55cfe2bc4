"""The REST API as the demo needs it: JSON in, JSON out, and a refusal that tells what was refused."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import httpx2

from manman_devstack.demo.failure import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

Json = dict[str, Any]
"""A JSON object of the API: snake_case names, 64-bit numbers as text."""

_TIMEOUT_S = 15.0
_PAGE_SIZE = 100
_MOST_PAGES = 100


class Rest:
    """A client of one API, an async context manager."""

    def __init__(self, base_url: str) -> None:
        """Talk to `base_url`, without the `/v1`."""
        self._base_url = base_url
        self._client = httpx2.AsyncClient(base_url=base_url, timeout=_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        await self._client.__aexit__(kind, error, trace)

    async def get(self, path: str, **query: str | int) -> Json:
        """Read `path`."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Json | None = None) -> Json:
        """Create or do what `path` says."""
        return await self._call("POST", path, body=body or {})

    async def patch(self, path: str, body: Json) -> Json:
        """Change the fields that `body` holds."""
        return await self._call("PATCH", path, body=body)

    async def every(self, path: str, field: str, **query: str | int) -> list[Json]:
        """Read all pages of the list `field`."""
        items: list[Json] = []
        token = ""
        for _ in range(_MOST_PAGES):
            page = await self.get(path, page_size=_PAGE_SIZE, page_token=token, **query)
            items += page.get(field, [])
            token = page.get("next_page_token", "")
            if not token:
                return items
        raise DemoError(f"GET {path} has more than {_MOST_PAGES} pages")

    @contextlib.asynccontextmanager
    async def events(self, path: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Open a server-sent event stream: the data of its unnamed events, up to its event `end`."""
        timeout = httpx2.Timeout(_TIMEOUT_S, read=None)
        async with self._client.stream("GET", path, timeout=timeout) as answer:
            if answer.is_error:
                await answer.aread()
                raise self._refusal("GET", path, answer)
            yield _events(answer)

    async def _call(self, method: str, path: str, *, query: Json | None = None, body: Json | None = None) -> Json:
        try:
            answer = await self._client.request(method, path, params=query, json=body)
        except httpx2.HTTPError as error:
            raise DemoError(f"{method} {self._base_url}{path} failed: {error or type(error).__name__}") from error
        if answer.is_error:
            raise self._refusal(method, path, answer)
        document: Json = answer.json()
        return document

    def _refusal(self, method: str, path: str, answer: httpx2.Response) -> DemoError:
        try:
            problem = json.dumps(answer.json(), indent=2).splitlines()
        except ValueError:
            problem = answer.text[:2000].splitlines()
        return DemoError(f"{method} {self._base_url}{path} was refused with {answer.status_code}", problem)


async def _events(answer: httpx2.Response) -> AsyncIterator[Json]:
    """Parse the lines of an event stream (WHATWG HTML, section 9.2): an empty line ends an event."""
    name, data = "", list[str]()
    async for line in answer.aiter_lines():
        if not line:
            if name == "end":
                return
            if data and name == "error":
                raise DemoError("the event stream ended with an error", data)
            if data and name in ("", "message"):
                yield json.loads("\n".join(data))
            name, data = "", []
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif line.startswith("event:"):
            name = line.removeprefix("event:").strip()
    raise DemoError("the event stream broke off without its event `end`")
