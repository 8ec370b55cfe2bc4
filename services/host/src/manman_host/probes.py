"""Probes ask a game whether it answers players, in the words that a player's client would use.

    tcp        a connection is accepted; by the kernel, so a game that hangs may pass
    a2s        Source: A2S_INFO over UDP, with the challenge that newer servers send first
    minecraft  Java edition: a handshake for the state "status", then a status request, over TCP

A probe judges nothing: silence may mean that the game is not there yet, or hangs, or that the network does. What an
answer says of players is kept; one that says nothing of them, or what nobody can read, is an answer all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

MAX_DATAGRAMS = 16
MAX_CHALLENGES = 2
MAX_STATUS_BYTES = 1 << 21
MAX_COUNT = 2**31 - 1
VARINT_BYTES = 5

A2S_INFO = b"\xff\xff\xff\xffTSource Engine Query\x00"
A2S_WHOLE, A2S_SPLIT = b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff"
A2S_CHALLENGE, A2S_ANSWERS = b"A", {b"I": (1, 4, 2), b"m": (0, 5, 0)}
"""Kinds of replies; `m` is what servers before Source say. The numbers of players and of places for them, a byte each,
stand behind so many bytes, so many texts and so many bytes again."""

COUNTING = frozenset({"a2s", "minecraft"})
"""The kinds whose answers tell how many players there are."""


class NonsenseError(Exception):
    """Somebody answered, but not in this protocol."""


class Answer(NamedTuple):
    """A game's answer, and what it says of players; None is not known."""

    players: int | None = None
    players_max: int | None = None


async def ask(kind: str, host: str, port: int, *, timeout_s: float) -> Answer | None:
    """Return what the game at that address answers to a probe of that kind, None when it does not within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _PROBES[kind](host, port)
    except (OSError, TimeoutError, EOFError, NonsenseError):
        return None


async def _tcp(host: str, port: int) -> Answer:
    async with _connection(host, port):
        return Answer()


async def _a2s(host: str, port: int) -> Answer:
    async with _datagrams(host, port) as (send, receive):
        send(A2S_INFO)
        for _ in range(MAX_CHALLENGES):
            reply = await receive()
            head, kind = reply[:4], reply[4:5]
            if head == A2S_SPLIT:
                return Answer()
            if head == A2S_WHOLE and kind in A2S_ANSWERS:
                return _players_of_a2s(reply[5:], *A2S_ANSWERS[kind])
            if head != A2S_WHOLE or kind != A2S_CHALLENGE:
                break
            send(A2S_INFO + reply[5:9])
        raise NonsenseError(f"no answer to A2S_INFO: {reply[:16]!r}")


def _players_of_a2s(body: bytes, before: int, texts: int, between: int) -> Answer:
    parts = body[before:].split(b"\x00", texts)
    counts = parts[-1][between : between + 2]
    return Answer(*counts) if len(parts) > texts and len(counts) == 2 else Answer()  # noqa: PLR2004 - both numbers


async def _minecraft(host: str, port: int) -> Answer:
    any_version = b"\xff\xff\xff\xff\x0f"  # -1: the client has not decided yet
    name = host.encode()
    handshake = b"\x00" + any_version + _varint(len(name)) + name + struct.pack(">H", port) + b"\x01"
    async with _connection(host, port) as (reader, writer):
        writer.write(_varint(len(handshake)) + handshake + b"\x01\x00")
        await writer.drain()
        size_bytes = await _read_varint(reader)
        kind = await _read_varint(reader)
        text_bytes = await _read_varint(reader)
        first = await reader.readexactly(1)
        if kind != 0 or not 0 < text_bytes < size_bytes <= MAX_STATUS_BYTES or first != b"{":
            raise NonsenseError(f"no status of {size_bytes} bytes: packet {kind}, {first!r}")
        return _players_of_minecraft(first + await reader.readexactly(text_bytes - 1))


def _players_of_minecraft(text: bytes) -> Answer:
    try:
        players = json.loads(text)["players"]
        counts = [players["online"], players["max"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return Answer()
    return Answer(*[count if type(count) is int and 0 <= count <= MAX_COUNT else None for count in counts])


_PROBES: dict[str, Callable[[str, int], Awaitable[Answer]]] = {"tcp": _tcp, "a2s": _a2s, "minecraft": _minecraft}


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Mailbox(asyncio.DatagramProtocol):
    """Keeps what comes until somebody takes it; a refusal comes as an error. When it is full, the rest is dropped."""

    def __init__(self) -> None:
        self.mail: asyncio.Queue[bytes | Exception] = asyncio.Queue(MAX_DATAGRAMS)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio calls it so
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        if not self.mail.full():
            self.mail.put_nowait(item)


@contextlib.asynccontextmanager
async def _datagrams(
    host: str, port: int
) -> AsyncIterator[tuple[Callable[[bytes], None], Callable[[], Awaitable[bytes]]]]:
    loop = asyncio.get_running_loop()
    transport, mailbox = await loop.create_datagram_endpoint(_Mailbox, remote_addr=(host, port))

    async def receive() -> bytes:
        item = await mailbox.mail.get()
        if isinstance(item, Exception):
            raise item
        return item

    try:
        yield transport.sendto, receive
    finally:
        transport.close()


def _varint(number: int) -> bytes:
    """Write a number as groups of seven bits, the lowest first."""
    written = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        written.append(low | (0x80 if number else 0))
        if not number:
            return bytes(written)


async def _read_varint(reader: asyncio.StreamReader) -> int:
    number = 0
    for index in range(VARINT_BYTES):
        (byte,) = await reader.readexactly(1)
        number |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return number
    raise NonsenseError("a number that does not end")
