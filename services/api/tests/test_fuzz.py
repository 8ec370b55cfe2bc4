"""Whatever bytes reach the gRPC port, the answer is a status that the caller can act on, and the server goes on.

The bytes are made from a fixed seed: random ones, requests with random values, and those cut short and damaged.
"""

import random
import string
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from manman.rpc.services import path_of, type_of
from manman.v1 import access_control_pb2, api_pb2, games_pb2, log_processor_pb2, workshop_pb2, wrapper_control_pb2

SEED = 20260718
REQUESTS = 8
"""Requests with random values for each method; each is sent whole, cut short and damaged."""

FILES = (api_pb2, log_processor_pb2, access_control_pb2, workshop_pb2, wrapper_control_pb2)
METHODS = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
TEXTS = ("", "a", "running", "/data", "string", "{{x}}", "\x00", "ö\u2028", "%s'\";--", "9" * 400, string.printable)
NUMBERS = (0, 1, 2, -1, 255, 65536, 2**31 - 1, -(2**31))
VALUES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: (b"", b"\x00\xff", b"save\n", b"x" * 100_000),
    FieldDescriptor.TYPE_BOOL: (False, True),
    FieldDescriptor.TYPE_DOUBLE: (0.0, -1.5, 1e308, float("inf"), float("nan")),
    FieldDescriptor.TYPE_ENUM: (0, 1, 2, 99),
    FieldDescriptor.TYPE_INT64: (*NUMBERS, 2**53 + 1, 2**63 - 1, -(2**63)),
}


def message_of(kind: Any, chance: random.Random, depth: int = 0) -> Message:
    """Return a message with random values in about half of its fields."""
    message: Message = type_of(kind)()
    for field in kind.fields:
        if chance.random() < 0.5 or (field.message_type is not None and depth > 3):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(chance.randint(1, 3)):
                getattr(message, field.name)[chance.choice(TEXTS)] = chance.choice(TEXTS)
        elif field.is_repeated and field.message_type is not None:
            getattr(message, field.name).extend(message_of(field.message_type, chance, depth + 1) for _ in range(2))
        elif field.is_repeated:
            getattr(message, field.name).extend(value_of(field, chance) for _ in range(chance.randint(1, 4)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(message_of(field.message_type, chance, depth + 1))
        else:
            setattr(message, field.name, value_of(field, chance))
    return message


def value_of(field: FieldDescriptor, chance: random.Random) -> Any:
    return chance.choice(VALUES.get(field.type, NUMBERS))


def bytes_for(method: MethodDescriptor, chance: random.Random) -> Iterator[bytes]:
    yield b""
    for size in (1, 2, 8, 64, 1000):
        yield chance.randbytes(size)
    for _ in range(REQUESTS):
        whole = message_of(method.input_type, chance).SerializeToString()
        yield whole
        yield whole[: chance.randint(0, len(whole))]
        damaged = bytearray(whole or b"\x00")
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        yield bytes(damaged)


async def answer_to(channel: grpc.aio.Channel, method: MethodDescriptor, data: bytes) -> tuple[grpc.StatusCode, str]:
    """Send bytes as a request; return the status."""
    try:
        if method.server_streaming:
            async for _ in channel.unary_stream(path_of(method))(data, timeout=1):
                break
        else:
            await channel.unary_unary(path_of(method))(data, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


@pytest.mark.timeout(180)
async def test_no_bytes_make_the_server_fail(api: Any, new_session: Callable[[], Awaitable[int]]) -> None:
    await new_session()  # so that some of the ids are those of something
    chance = random.Random(SEED)  # noqa: S311 - the same bytes each time
    found: set[grpc.StatusCode] = set()
    for method in METHODS:
        for data in bytes_for(method, chance):
            code, text = await answer_to(api.channel, method, data)
            assert code not in FAULTS, f"{method.name} answers {code}: {text} to {data!r}"
            found.add(code)
    reached = {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
    assert reached <= found, "the bytes reached no handler"
    assert (await api.control.CreateGame(games_pb2.CreateGameRequest(name="still here"))).game.game_id > 0


async def test_bytes_that_are_no_message_are_refused_as_such(api: Any) -> None:
    for method in (METHODS[0], log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"].methods[0]):
        code, text = await answer_to(api.channel, method, b"\xff\xff\xff")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert f"no manman.v1.{method.name}Request" in text
