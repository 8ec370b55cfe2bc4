"""Ask a running game server who it is, in the game's own network protocol.

A container that runs, or a port that accepts, proves little: Docker's port proxy accepts TCP connections before the
game listens. These probes speak what a player's client speaks. Each takes an address and a time limit, returns a
description, and raises `ProbeError` when there is no sensible answer. They never retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import socket
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_OPENTTD_UDP_FIND_SERVER = 0
_OPENTTD_UDP_RESPONSE = 1
_OPENTTD_TCP_GAME_INFO = 7
_OPENTTD_TCP_SERVER_GAME_INFO = 6
_OPENTTD_INFO_VERSIONS = (5, 6)
_OPENTTD_DAYS_BEFORE_YEAR_1 = 365  # its day 0 is 1 January of the year 0; ordinal 1 is 1 January of the year 1

_TEEWORLDS_TOKEN_REQUEST_BYTES = 512  # padding, so that the server never answers with more than it was sent
_TEEWORLDS_CONTROL_TOKEN = 5
_TEEWORLDS_INFO_REQUEST = b"\xff\xff\xff\xffgie3"
_TEEWORLDS_INFO_ANSWER = b"\xff\xff\xff\xffinf3"

_FREECIV_JOIN_REQUEST = 4
_FREECIV_JOIN_REPLY = 5
_FREECIV_CLIENT = (3, 0, 6)  # the version of the client that we claim to be
_FREECIV_CAPABILITIES = b"+Freeciv-3.0-network"
_FREECIV_JUMBO = 0xFFFF  # in place of a size: the real one follows, of compressed packets
_FREECIV_COMPRESSED = 16 * 1024 + 1  # added to the size of compressed packets
_FREECIV_MAX_BYTES = 4 * 1024 * 1024  # a joining client is sent the world, some hundred thousand bytes

_MAX_DATAGRAM_BYTES = 2048


class ProbeError(Exception):
    """The server did not answer in time, or not in its protocol. The text says which."""


@dataclasses.dataclass(frozen=True)
class OpenttdInfo:
    """What an OpenTTD server tells everybody who asks on its TCP port."""

    server_name: str
    version: str
    clients_on: int
    clients_max: int
    map_width: int
    map_height: int
    game_date: dt.date
    has_password: bool
    is_dedicated: bool


@dataclasses.dataclass(frozen=True)
class TeeworldsInfo:
    """What a Teeworlds 0.7 server tells everybody who asks on its UDP port."""

    server_name: str
    version: str
    map_name: str
    game_type: str
    players_on: int
    players_max: int


@dataclasses.dataclass(frozen=True)
class FreecivReply:
    """What a Freeciv server says to a client that wants to join: whether it may, a text for people, what it can do."""

    can_join: bool
    message: str
    capabilities: str


async def openttd_info(host: str, port: int, *, timeout_s: float = 2.0) -> OpenttdInfo:
    """Ask an OpenTTD 12 or newer server for its description over TCP (packet CLIENT_GAME_INFO).

    Raises:
        ProbeError: refused, silent for `timeout_s`, or an answer in another protocol.
    """
    try:
        async with asyncio.timeout(timeout_s):
            kind, body = await _openttd_exchange(host, port)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ProbeError(f"no OpenTTD answer from {host}:{port} over TCP: {_reason(error)}") from error
    if kind != _OPENTTD_TCP_SERVER_GAME_INFO:
        raise ProbeError(f"{host}:{port} answered with packet {kind}, not with its game info")
    try:
        return _read_openttd_info(_Reader(body))
    except (ValueError, IndexError, struct.error) as error:
        raise ProbeError(f"{host}:{port} sent a game info that cannot be read: {error}") from error


async def openttd_is_found(host: str, port: int, *, timeout_s: float = 1.0) -> None:
    """Ask as a client that searches its network does (UDP packet CLIENT_FIND_SERVER); return when the server answers.

    Raises:
        ProbeError: refused, silent for `timeout_s`, or another answer.
    """
    async with _udp(host, port, timeout_s) as exchange:
        answer = await exchange(struct.pack("<HB", 3, _OPENTTD_UDP_FIND_SERVER))
    if answer != struct.pack("<HB", 3, _OPENTTD_UDP_RESPONSE):
        raise ProbeError(f"{host}:{port} answered a search with {answer[:16].hex(' ')}")


async def teeworlds_info(host: str, port: int, *, timeout_s: float = 1.0) -> TeeworldsInfo:
    """Ask a Teeworlds 0.7 server for its description: fetch a token, then ask with it.

    Raises:
        ProbeError: refused, silent for `timeout_s`, or an answer in another protocol.
    """
    own_token = os.urandom(4)
    async with _udp(host, port, timeout_s) as exchange:
        hello = b"\x04\x00\x00\xff\xff\xff\xff" + bytes([_TEEWORLDS_CONTROL_TOKEN]) + own_token
        granted = await exchange(hello + bytes(_TEEWORLDS_TOKEN_REQUEST_BYTES))
        if len(granted) < 12 or granted[3:7] != own_token or granted[7] != _TEEWORLDS_CONTROL_TOKEN:  # noqa: PLR2004 - header, token, kind, token
            raise ProbeError(f"{host}:{port} granted no token but sent {granted[:16].hex(' ')}")
        answer = await exchange(b"\x21" + granted[8:12] + own_token + _TEEWORLDS_INFO_REQUEST + b"\x00")
    if answer[9:17] != _TEEWORLDS_INFO_ANSWER:
        raise ProbeError(f"{host}:{port} answered with {answer[:20].hex(' ')}, not with its info")
    try:
        return _read_teeworlds_info(_Reader(answer[17:]))
    except (ValueError, IndexError) as error:
        raise ProbeError(f"{host}:{port} sent an info that cannot be read: {error}") from error


async def freeciv_join(host: str, port: int, *, name: str = "probe", timeout_s: float = 2.0) -> FreecivReply:
    """Ask a Freeciv 3.0 server to let a client of that name join (packet SERVER_JOIN_REQ), and leave.

    Raises:
        ProbeError: refused, silent for `timeout_s`, or an answer in another protocol.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _freeciv_exchange(host, port, name)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ProbeError(f"no Freeciv answer from {host}:{port} over TCP: {_reason(error)}") from error
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise ProbeError(f"{host}:{port} sent a reply that cannot be read: {error}") from error


async def _freeciv_exchange(host: str, port: int, name: str) -> FreecivReply:
    """Send the request, and return the reply, which may come behind other packets."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        body = b"%b\0%b\0\0" % (name.encode(), _FREECIV_CAPABILITIES) + struct.pack(">III", *_FREECIV_CLIENT)
        writer.write(struct.pack(">HB", len(body) + 3, _FREECIV_JOIN_REQUEST) + body)
        while True:
            for kind, packet in _freeciv_packets(await _freeciv_read(reader)):
                if kind == _FREECIV_JOIN_REPLY:
                    fields = _Reader(packet)
                    return FreecivReply(bool(fields.byte()), fields.text(), fields.text())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _freeciv_read(reader: asyncio.StreamReader) -> bytes:
    """Read one packet, or several that came compressed together; sizes include what says them."""
    (size,) = struct.unpack(">H", head := await reader.readexactly(2))
    if size < _FREECIV_COMPRESSED:
        return head + await reader.readexactly(size - len(head))
    if size == _FREECIV_JUMBO:
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        rest_bytes = size - 6
    else:
        rest_bytes = size - _FREECIV_COMPRESSED - len(head)
    if not 0 < rest_bytes <= _FREECIV_MAX_BYTES:
        raise ValueError(f"{rest_bytes} compressed bytes")
    return zlib.decompressobj().decompress(await reader.readexactly(rest_bytes), _FREECIV_MAX_BYTES)


def _freeciv_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take packets apart: kind and body."""
    while data:
        size, kind = struct.unpack_from(">HB", data)
        if not 3 <= size <= len(data):  # noqa: PLR2004 - a size and a kind
            raise ValueError(f"a packet of {size} bytes among {len(data)}")
        yield kind, data[3:size]
        data = data[size:]


async def _openttd_exchange(host: str, port: int) -> tuple[int, bytes]:
    """Send the question, return the kind and body of the first packet that comes back."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(struct.pack("<HB", 3, _OPENTTD_TCP_GAME_INFO))
        size, kind = struct.unpack("<HB", await reader.readexactly(3))
        return kind, await reader.readexactly(max(0, size - 3))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _read_openttd_info(reader: _Reader) -> OpenttdInfo:
    """Read the body of SERVER_GAME_INFO; each version put its fields in front of the older ones'."""
    version = reader.byte()
    if version not in _OPENTTD_INFO_VERSIONS:
        raise ValueError(f"version {version} of the game info is unknown")
    if version == _OPENTTD_INFO_VERSIONS[-1]:
        reader.byte()  # how the list of extensions is written
    reader.number("<i")  # version of the game script
    reader.text()  # its name
    for _ in range(reader.byte()):
        reader.skip(4 + 16)  # an extension: its id and hash
    game_date = reader.number("<I")
    reader.number("<I")  # date on which the game began
    reader.skip(3)  # companies: most, now; clients: most
    server_name, revision = reader.text(), reader.text()
    has_password = bool(reader.byte())
    clients_max, clients_on = reader.byte(), reader.byte()
    reader.byte()  # spectators now
    width, height = reader.number("<H"), reader.number("<H")
    reader.byte()  # climate
    return OpenttdInfo(
        server_name=server_name,
        version=revision,
        clients_on=clients_on,
        clients_max=clients_max,
        map_width=width,
        map_height=height,
        game_date=dt.date.fromordinal(game_date - _OPENTTD_DAYS_BEFORE_YEAR_1),
        has_password=has_password,
        is_dedicated=bool(reader.byte()),
    )


def _read_teeworlds_info(reader: _Reader) -> TeeworldsInfo:
    """Read the body of the info answer: our request's token, texts, then packed numbers."""
    reader.packed_number()  # the token that the request carried
    version, server_name = reader.text(), reader.text()
    reader.text()  # host name
    map_name, game_type = reader.text(), reader.text()
    reader.packed_number()  # flags
    reader.packed_number()  # skill level
    return TeeworldsInfo(
        server_name=server_name,
        version=version,
        map_name=map_name,
        game_type=game_type,
        players_on=reader.packed_number(),
        players_max=reader.packed_number(),
    )


class _Reader:
    """Reads a packet from front to back; IndexError or struct.error when it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def skip(self, length_bytes: int) -> None:
        self._at += length_bytes

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return int(value)

    def text(self) -> str:
        """Read up to the next zero byte; bytes that are no UTF-8 are replaced."""
        end = self._data.index(b"\x00", self._at)
        value = self._data[self._at : end].decode(errors="replace")
        self._at = end + 1
        return value

    def packed_number(self) -> int:
        """Read a Teeworlds integer: bit 7 more follows, bit 6 sign (first byte only), low bits first."""
        first = self.byte()
        value, shift, more = first & 0x3F, 6, first & 0x80
        while more:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift, more = shift + 7, byte & 0x80
        return ~value if first & 0x40 else value


class _Exchange:
    """A connected UDP socket: send one datagram, wait for one."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def __call__(self, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            await loop.sock_sendall(self._connection, question)
            return await loop.sock_recv(self._connection, _MAX_DATAGRAM_BYTES)


@contextlib.asynccontextmanager
async def _udp(host: str, port: int, timeout_s: float) -> AsyncIterator[_Exchange]:
    """Open a UDP exchange; what goes wrong on the network inside the block comes out as `ProbeError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
            yield _Exchange(connection, timeout_s)
        except (OSError, TimeoutError) as error:
            raise ProbeError(f"no answer from {host}:{port} over UDP: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Say why nothing came, for people: a time-out has no text of its own."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, asyncio.IncompleteReadError):
        return "the connection was closed"
    return str(error)
