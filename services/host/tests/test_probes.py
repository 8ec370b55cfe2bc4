"""Probes against responders that keep to the public description of each protocol, and against ones that do not."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from typing import TYPE_CHECKING

import pytest

from manman_host.probes import Answer, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

INFO = b"\xff\xff\xff\xffTSource Engine Query\x00"
ANSWER = b"\xff\xff\xff\xffI\x11name\x00map\x00folder\x00game\x00"
CHALLENGE = b"\xff\xff\xff\xffA\x01\x02\x03\x04"
LOCAL = "127.0.0.1"


class Responder(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self.reply = reply

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override] # UDP's transport
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self.reply(data)
        if reply is not None:
            self.transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def udp(reply: Callable[[bytes], bytes | None]) -> AsyncIterator[int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Responder(reply), local_addr=(LOCAL, 0)
    )
    yield transport.get_extra_info("sockname")[1]
    transport.close()


@contextlib.asynccontextmanager
async def tcp(reply: bytes | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer what comes with `reply`, or with silence; give what came."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(200))
        if reply is not None:
            writer.write(reply)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, LOCAL, 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()


def with_challenge(data: bytes) -> bytes | None:
    if data == INFO:
        return CHALLENGE
    return ANSWER if data == INFO + b"\x01\x02\x03\x04" else None


@pytest.mark.parametrize(
    ("reply", "answered"),
    [
        (lambda data: ANSWER if data == INFO else None, True),
        (with_challenge, True),
        (lambda _: b"\xfe\xff\xff\xff part of more", True),
        (lambda _: b"\xff\xff\xff\xffmold style", True),
        (lambda _: CHALLENGE, False),
        (lambda _: b"", False),
        (lambda _: b"hello", False),
        (lambda _: None, False),
    ],
)
async def test_a_source_server_answers_at_once_or_after_a_challenge(
    reply: Callable[[bytes], bytes | None], *, answered: bool
) -> None:
    async with udp(reply) as port:
        assert (await ask("a2s", LOCAL, port, timeout_s=0.3) is not None) is answered


@pytest.mark.parametrize(
    ("reply", "players"),
    [
        (ANSWER + b"\xf0\x00\x05\x10\x00dl", (5, 16)),
        (ANSWER + b"\xf0\x00\x05", (None, None)),
        (ANSWER, (None, None)),
        (b"\xff\xff\xff\xffm1.2.3.4:27015\x00name\x00map\x00folder\x00game\x00\x00\x20\x2f", (0, 32)),
        (b"\xff\xff\xff\xffmold style", (None, None)),
        (b"\xfe\xff\xff\xff part of more", (None, None)),
    ],
)
async def test_a_source_server_says_how_many_players_it_has_or_nothing_is_known_of_them(
    reply: bytes, players: tuple[int | None, int | None]
) -> None:
    async with udp(lambda _: reply) as port:
        assert await ask("a2s", LOCAL, port, timeout_s=0.3) == players


def status(text: bytes) -> bytes:
    body = b"\x00" + struct.pack("B", len(text)) + text
    return struct.pack("B", len(body)) + body


@pytest.mark.parametrize(
    ("reply", "answered"),
    [
        (status(b'{"version":{"name":"1.21"}}'), True),
        (status(b"not json"), False),
        (b"\x03\x01\x01{", False),
        (b"\xff\xff\xff\xff\xff\xff", False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (None, False),
    ],
)
async def test_a_minecraft_server_answers_with_its_status(reply: bytes | None, *, answered: bool) -> None:
    async with tcp(reply) as (port, heard):
        assert (await ask("minecraft", LOCAL, port, timeout_s=0.3) is not None) is answered
    handshake = b"\x00\xff\xff\xff\xff\x0f\x09127.0.0.1" + struct.pack(">H", port) + b"\x01"
    assert heard == [struct.pack("B", len(handshake)) + handshake + b"\x01\x00"]


@pytest.mark.parametrize(
    ("text", "players"),
    [
        (b'{"players":{"max":20,"online":3}}', (3, 20)),
        (b'{"players":{"max":-1,"online":0}}', (0, None)),
        (b'{"players":{"max":true,"online":"3"}}', (None, None)),
        (b'{"players":[]}', (None, None)),
        (b'{"players":{"online":3}}', (None, None)),
        (b"{ but no json", (None, None)),
    ],
)
async def test_a_minecraft_server_says_how_many_players_it_has_or_nothing_is_known_of_them(
    text: bytes, players: tuple[int | None, int | None]
) -> None:
    async with tcp(status(text)) as (port, _):
        assert await ask("minecraft", LOCAL, port, timeout_s=0.3) == players


async def test_a_connection_that_is_accepted_is_enough_for_tcp() -> None:
    async with tcp(None) as (port, _):
        assert await ask("tcp", LOCAL, port, timeout_s=1.0) == Answer()


@pytest.mark.parametrize("kind", ["tcp", "a2s", "minecraft"])
async def test_where_nobody_listens_nobody_answers_and_that_is_known_at_once(kind: str) -> None:
    async with tcp(None) as (port, _):
        pass
    began = time.monotonic()
    assert await ask(kind, LOCAL, port, timeout_s=5.0) is None
    assert time.monotonic() - began < 4.0
