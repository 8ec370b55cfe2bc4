"""The example subscriber as a process, between a real broker and a webhook of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import signal
import sys
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from manman.bus.publisher import Publisher
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker
from manman_devstack.scripted_host import bus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAM = pathlib.Path(__file__).parents[3] / "examples" / "external_subscriber" / "subscriber.py"
QUEUE, DEAD = "slack-notifier", "slack-notifier-dlq"
HANG = 0


@dataclass
class Channel:
    """A webhook: what it was told, and how it answers next (HANG: not at all); 200 when nothing is prepared."""

    url: str = ""
    told: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    tries: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:"))
            text = json.loads(await reader.readexactly(length))["text"]
            self.tries += 1
            status = self.answers.pop(0) if self.answers else 200
            if status == HANG:
                await reader.read()
            elif status == 200:
                self.told.append(text)
            writer.write(f"HTTP/1.1 {status or 500} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@dataclass
class Subscriber:
    """The running program, what it is sent, and what it counts."""

    process: asyncio.subprocess.Process
    port: int
    publisher: Publisher

    async def hear(self, key: str, **body: object) -> None:
        await self.publisher.publish("external", f"manman.{key}", json.dumps(body).encode(), message_id="m")

    async def counts(self, sample: str) -> float:
        url = f"http://127.0.0.1:{self.port}/metrics"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read().decode())
        lines = [line for line in answer.splitlines() if line.startswith(f"{sample} ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    made = Channel()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield made


@pytest.fixture
def onlooker(amqp_url: str) -> Onlooker:
    return Onlooker(amqp_url)


@contextlib.asynccontextmanager
async def subscriber(amqp_url: str, channel: Channel, **environment: str) -> AsyncIterator[Subscriber]:
    given = {"RABBITMQ_URL": amqp_url, "SLACK_WEBHOOK_URL": channel.url, "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        env={**given, "METRICS_PORT": "0", "WEBHOOK_TIMEOUT_S": "2", **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            words = (await process.stdout.readline()).decode().split()
        assert words[:3] == ["listening", "on", f"{QUEUE},"], words
        async with bus(amqp_url) as connection, Publisher(connection) as publisher:
            yield Subscriber(process, int(words[-1]), publisher)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def settled(channel: Channel, *texts: str) -> Any:
    async def look() -> None:
        assert channel.told == list(texts)

    return eventually(look, timeout_s=30)


def lies_dead(onlooker: Onlooker, count: int) -> Any:
    async def look() -> None:
        assert await onlooker.depth(DEAD) == count

    return eventually(look)


async def test_each_event_is_told_once_and_nonsense_goes_to_the_dead_letters(
    amqp_url: str, channel: Channel, onlooker: Onlooker
) -> None:
    async with subscriber(amqp_url, channel) as program:
        await program.hear("host.online", server_id=1, event_id="a")
        await program.hear("session.running", session_id=7, event_id="b")
        await program.hear("session.running", session_id=7, event_id="b")
        await program.publisher.publish("external", "manman.session.crashed", b"{half of", message_id="c")
        await program.hear("tournament.won", event_id="d")
        await program.hear("session.crashed", session_id=7, event_id="e", exit_code=137, reason="<&>")

        crash = "session 7 is crashed, exit_code 137, reason &lt;&amp;&gt;"
        await settled(channel, "host 1 is online", "session 7 is running", crash)
        await lies_dead(onlooker, 1)
        assert await program.counts('subscriber_events_total{event="session.running",outcome="repeated"}') == 1
        assert await program.counts('subscriber_events_total{event="",outcome="ignored"}') == 1
        assert await program.counts("subscriber_webhook_works") == 1


async def test_a_webhook_that_fails_for_a_moment_is_tried_again(
    amqp_url: str, channel: Channel, onlooker: Onlooker
) -> None:
    channel.answers = [500, HANG, 429]
    async with subscriber(amqp_url, channel) as program:
        await program.hear(
            "deployment.crash_loop", sgc_id=3, reason="crash loop: 2 restarts within 600 s", event_id="a"
        )
        await settled(channel, "deployment 3: crash loop: 2 restarts within 600 s")
        assert channel.tries == 4
        assert await program.counts("subscriber_webhook_failures_total") == 3
    assert await onlooker.depth(DEAD) == 0


async def test_a_webhook_that_goes_on_failing_costs_one_event_its_tries_and_the_next_ones_one_each(
    amqp_url: str, channel: Channel, onlooker: Onlooker
) -> None:
    channel.answers = [500, HANG, 500]
    async with subscriber(amqp_url, channel, WEBHOOK_TRIES="2") as program:
        for name in ("a", "b", "c"):
            await program.hear("host.online", server_id=ord(name), event_id=name)
        await settled(channel, "host 99 is online")
        await lies_dead(onlooker, 2)
        await program.hear("host.online", server_id=97, event_id="a")  # as somebody does who puts it back

        await settled(channel, "host 99 is online", "host 97 is online")
        assert channel.tries == 5


async def test_a_refusal_for_good_is_not_tried_again(amqp_url: str, channel: Channel, onlooker: Onlooker) -> None:
    channel.answers = [404]
    async with subscriber(amqp_url, channel) as program:
        await program.hear("host.online", server_id=1, event_id="a")
        await lies_dead(onlooker, 1)
        assert channel.tries == 1


async def test_it_finishes_the_event_in_hand_when_told_to_stop_and_the_others_wait_for_the_next_one(
    amqp_url: str, channel: Channel, onlooker: Onlooker, tmp_path: pathlib.Path
) -> None:
    channel.answers = [500]
    seen = {"SEEN_DATABASE": str(tmp_path / "seen.sqlite")}
    async with subscriber(amqp_url, channel, **seen) as program:
        for name in ("a", "b"):
            await program.hear("host.online", server_id=ord(name), event_id=name)
        await eventually(lambda: _is_tried(channel))
        assert await program.stop() == 0
    assert channel.told == ["host 97 is online"]
    async with subscriber(amqp_url, channel, **seen) as program:
        await program.hear("host.online", server_id=97, event_id="a")
        await program.hear("host.online", server_id=99, event_id="c")
        await settled(channel, "host 97 is online", "host 98 is online", "host 99 is online")
    assert await onlooker.depth(DEAD) == 0


async def _is_tried(channel: Channel) -> bool:
    return channel.tries > 0
