"""What is too long is refused in words, early, and without harm to anybody else. Spoken over a plain socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from manman.rpc.server import MAX_MESSAGE_BYTES
from manman.v1 import servers_pb2
from manman_api import web
from manman_api.rest.bodies import MAX_BODY_BYTES

HEAD = "POST /v1/servers:register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Line:
    """A connection to the REST port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, text: str | bytes) -> None:
        self._writer.write(text.encode() if isinstance(text, str) else text)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Read one answer."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    async def is_closed(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.read(1) == b""


@pytest.fixture
async def line(site: Any) -> AsyncIterator[Line]:
    url = site.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    yield Line(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_body_that_says_it_is_too_long_is_refused_before_any_of_it_is_sent(site: Any, line: Line) -> None:
    await line.send(f"{HEAD}Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n")
    status, document = await line.answer()
    assert (status, document["status"]) == (413, "INVALID_ARGUMENT")
    assert str(MAX_BODY_BYTES) in document["message"]
    assert await line.is_closed()
    assert site.api.requests == []


async def test_a_client_that_asks_before_it_sends_is_not_told_to_go_on(line: Line) -> None:
    await line.send(f"{HEAD}Content-Length: {MAX_BODY_BYTES + 1}\r\nExpect: 100-continue\r\n\r\n")
    assert (await line.answer())[0] == 413


async def test_a_client_that_sends_all_of_it_first_still_gets_the_answer(site: Any) -> None:
    headers = {"content-type": "application/json"}
    answer = await site.client.post("/v1/servers:register", content=b" " * (MAX_BODY_BYTES + 1), headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (413, "INVALID_ARGUMENT")
    assert site.api.requests == []


async def test_a_body_in_chunks_is_refused_once_it_is_too_long(site: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 2):
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    answer = await site.client.post("/v1/servers:register", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (413, "INVALID_ARGUMENT")
    assert site.api.requests == []


async def test_a_body_of_exactly_the_limit_is_read(site: Any) -> None:
    body = b'{"name": "a"}'.ljust(MAX_BODY_BYTES)
    answer = await site.client.post("/v1/servers:register", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("head", ["GET /v1/servers/{} HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nX: {}\r\n\r\n"])
async def test_a_long_url_and_long_headers_are_refused_and_the_next_caller_is_served(api: Any, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.addresses.rest)
    writer.write(head.format("1" * 2 * web.MAX_HEAD_BYTES).encode())
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert await api.control.ListServers(servers_pb2.ListServersRequest()) is not None


async def test_a_path_with_a_thousand_segments_is_only_not_found(site: Any) -> None:
    assert (await site.client.get("/v1" + "/a" * 1000)).status_code == 404


async def test_more_query_parameters_than_any_call_has_are_refused(site: Any) -> None:
    for count in (201, 2000):
        answer = await site.client.get("/v1/sessions?" + "&".join(["status_filter=lost"] * count))
        assert (answer.status_code, answer.json()["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_grpc_message_over_the_limit_is_refused(api: Any) -> None:
    request = servers_pb2.RegisterServerRequest(name="a", features=["x" * MAX_MESSAGE_BYTES])
    code, text = await api.refusal(api.control.RegisterServer(request))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_MESSAGE_BYTES) in text
