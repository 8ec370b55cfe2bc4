"""The load: a process that makes calls of one kind for a while, and tells how long they took.

    python -m manman_devstack.bench.load

One JSON object a line on stdin (a `Plan`), one on stdout (an `Outcome`). A number of callers call one after the other,
so there are always that many calls under way. A call that fails ends the process: nobody wants the speed of refusals.
It is a process of its own, so that its work is not the server's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Call = Callable[[bytes], Awaitable[None]]

CALLERS = 16


@dataclass(frozen=True)
class Plan:
    """What to call: a gRPC method (`/package.Service/Method`) or, over HTTP/1.1, a verb and a path.

    `requests` are the encoded messages or bodies, in base64: each is used once, in this order, when there are several,
    and the only one again and again. It ends after `seconds`, or when there is no request left.
    """

    address: str
    method: str
    requests: list[str]
    seconds: float
    token: str = ""

    @property
    def is_grpc(self) -> bool:
        """Whether it is called by gRPC."""
        return self.method.startswith("/")

    def bodies(self) -> Iterator[bytes]:
        """Give the requests, for ever when there is one only."""
        decoded = [base64.b64decode(request) for request in self.requests]
        yield from decoded
        while len(decoded) == 1:
            yield decoded[0]


@dataclass(frozen=True)
class Outcome:
    """How many calls there were, and how long they took."""

    calls: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float


async def run(plan: Plan) -> Outcome:
    """Make the calls of a plan."""
    took_s: list[float] = []
    bodies = plan.bodies()
    async with contextlib.AsyncExitStack() as stack:
        calls = await stack.enter_async_context(_grpc(plan) if plan.is_grpc else _http(plan))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(_caller(call, bodies, started + plan.seconds, took_s))
        elapsed_s = time.perf_counter() - started
    cuts = statistics.quantiles(took_s, n=100)
    return Outcome(len(took_s), elapsed_s, cuts[49] * 1e3, cuts[98] * 1e3)


async def _caller(call: Call, bodies: Iterator[bytes], until: float, took_s: list[float]) -> None:
    now = time.perf_counter()
    while now < until and (body := next(bodies, None)) is not None:
        await call(body)
        before, now = now, time.perf_counter()
        took_s.append(now - before)


@contextlib.asynccontextmanager
async def _grpc(plan: Plan) -> AsyncIterator[list[Call]]:
    metadata = (("authorization", f"Bearer {plan.token}"),) if plan.token else ()
    async with grpc.aio.insecure_channel(plan.address) as channel:
        await channel.channel_ready()
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(plan.method)

        async def call(body: bytes) -> None:
            await method(body, metadata=metadata)

        yield [call] * CALLERS


@contextlib.asynccontextmanager
async def _http(plan: Plan) -> AsyncIterator[list[Call]]:
    """One kept connection for each caller, and no more of HTTP than our servers speak: a client library costs more."""
    host, _, port = plan.address.rpartition(":")
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Call] = []
        for _ in range(CALLERS):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            calls.append(_over(reader, writer, plan))
        yield calls


def _over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plan: Plan) -> Call:
    head = f"{plan.method} HTTP/1.1\r\nhost: {plan.address}\r\ncontent-type: application/json\r\n".encode()

    async def call(body: bytes) -> None:
        writer.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = answer.partition(b"content-length: ")
        text = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if b" 200 " not in answer[:16]:
            raise RuntimeError(f"{plan.method}: {answer.splitlines()[0].decode()}: {text[:500].decode()}")

    return call


def main() -> None:
    """Run one plan after the other until there is no more."""
    for line in sys.stdin:
        print(json.dumps(dataclasses.asdict(asyncio.run(run(Plan(**json.loads(line)))))), flush=True)


if __name__ == "__main__":
    main()
