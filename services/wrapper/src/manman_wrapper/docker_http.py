"""The engine's HTTP API over its unix socket, in asyncio: short calls, endless responses, and an attached stdin.

Why not the docker SDK: it blocks a thread for each endless response, and its attach loses bytes that arrive together
with the response's head. This module speaks just enough HTTP/1.1 and knows nothing of games.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

CALL_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
MAX_HEAD_BYTES = 256 * 1024
NO_CONTENT = 204
SWITCHING_PROTOCOLS = 101
OK = 200


class EngineError(Exception):
    """The engine refused a call; `status` is its HTTP status, the text is the engine's own."""

    def __init__(self, status: int, message: str) -> None:
        """Keep both: callers decide by `status` and show the text."""
        self.status = status
        self.message = message
        super().__init__(message)


class EngineAwayError(Exception):
    """The engine cannot be reached, or it hung up in the middle of a response."""


class Response:
    """The head of one response and the stream behind it."""

    def __init__(self, status: int, headers: Mapping[str, str], reader: asyncio.StreamReader) -> None:
        self.status = status
        self._headers = headers
        self._reader = reader

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, until its end."""
        if self._headers.get("transfer-encoding") == "chunked":
            while size := int((await self._reader.readline()).partition(b";")[0], 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        elif (length := self._headers.get("content-length")) is not None:
            yield await self._reader.readexactly(int(length))
        else:
            while piece := await self._reader.read(65536):
                yield piece

    async def body(self) -> bytes:
        """Return the whole body."""
        return b"".join([piece async for piece in self.pieces()])


class Stdin:
    """A connection whose every byte goes to a container's stdin."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an attached connection."""
        self._reader = reader
        self._writer = writer

    @property
    def is_open(self) -> bool:
        """Whether the engine still holds the other end, as far as it has told."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def write(self, data: bytes) -> None:
        """Write all of `data`; waits while the game does not read. Raises OSError when the connection is dead.

        What an earlier call could not get rid of goes first: nothing piles up here for a game that never reads.
        """
        await self._writer.drain()
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()


class DockerHttp:
    """A door to one engine. Every request has its own connection, so none waits for another."""

    def __init__(self, socket_path: str) -> None:
        """Remember where the engine is; nothing is opened yet."""
        self._socket_path = socket_path
        self._unreached_since: float | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:  # noqa: ANN401 - whatever JSON the engine answers
        """Make one call and return its JSON (None without a body); raise `EngineError` or `EngineAwayError`."""
        try:
            async with asyncio.timeout(timeout_s), self.open(method, path, query=query, body=body) as response:
                text = await response.body()
        except TimeoutError as error:
            raise EngineAwayError(f"the engine did not answer {method} {path} within {timeout_s:g} s") from error
        return json.loads(text) if text and response.status != NO_CONTENT else None

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> AsyncIterator[Response]:
        """Send a request and give its response once the head is there: endless bodies are read piece by piece."""
        reader, writer = await self._connect()
        try:
            yield await _exchange(reader, writer, method, path, query, body)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise EngineAwayError(f"the engine hung up on {method} {path}: {error}") from error
        finally:
            writer.close()

    async def attach_stdin(self, container_id: str) -> Stdin:
        """Return the container's stdin. The caller closes it; the container's stdin stays open then."""
        pair = reader, writer = await self._connect()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await _exchange(
                    *pair, "POST", f"/containers/{quote(container_id)}/attach", {"stream": "1", "stdin": "1"}, None
                )
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            writer.close()
            raise EngineAwayError(f"the engine did not attach: {error!r}") from error
        except BaseException:
            writer.close()
            raise
        return Stdin(reader, writer)

    async def out_of_reach(self, patience_s: float) -> None:
        """Return when nothing could be connected to the engine for that long."""
        while True:
            await asyncio.sleep(min(1.0, patience_s))
            since = self._unreached_since
            if since is not None and time.monotonic() - since >= patience_s:
                try:
                    _, writer = await self._connect()  # nobody may have tried for a while
                except EngineAwayError:
                    return
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                pair = await asyncio.open_unix_connection(self._socket_path, limit=MAX_HEAD_BYTES)
                self._unreached_since = None
                return pair
        except (OSError, TimeoutError) as error:
            self._unreached_since = self._unreached_since or time.monotonic()
            raise EngineAwayError(f"no engine at {self._socket_path}: {error!r}") from error


async def _exchange(  # noqa: PLR0917 - a request line in its own order
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    body: object,
) -> Response:
    writer.write(_request(method, path, query, body))
    await writer.drain()
    status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
    response = Response(status, headers, reader)
    if status not in (SWITCHING_PROTOCOLS, *range(OK, 300)):
        raise EngineError(status, _error_text(await response.body()))
    return response


def _request(method: str, path: str, query: Mapping[str, str] | None, body: object) -> bytes:
    target = f"{path}?{urlencode(query)}" if query else path
    payload = b"" if body is None else json.dumps(body).encode()
    head = [f"{method} {target} HTTP/1.1", "Host: docker", f"Content-Length: {len(payload)}"]
    if payload:
        head.append("Content-Type: application/json")
    head += ["Connection: Upgrade", "Upgrade: tcp"] if path.endswith("/attach") else ["Connection: close"]
    return "\r\n".join([*head, "", ""]).encode() + payload


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(first.split()[1]), headers


def _error_text(body: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["message"])
    return body.decode(errors="replace").strip() or "no reason given"
