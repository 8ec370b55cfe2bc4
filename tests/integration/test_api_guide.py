"""Every example of docs/api.md, run as it stands there, from top to bottom, on a fresh site.

`curl` is the real one; `grpcurl` is `grpcurl_stand_in`, which says what it proves. The host is scripted: it reports a
game that prints a line, repeats what is typed and ends when it is told to.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from manman import clock
from manman.bus import topology
from manman.bus.subscription import subscribe
from manman.messages import routing
from manman.messages.codec import decode, encode
from manman.messages.commands import Reply, SendInput
from manman.messages.health import Samples, SessionSample
from manman.messages.logs import LogLine
from manman_devstack import apt
from manman_devstack.control import by_grpc
from manman_devstack.eventually import eventually
from manman_devstack.object_store import ObjectStore
from manman_devstack.partly import missing, pattern
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost, bus, scripted_host
from manman_devstack.stack import Infrastructure

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
STAND_IN = Path(__file__).with_name("grpcurl_stand_in.py")
BLOCK = re.compile(r"^```(?P<kind>sh|json|text)\n(?P<text>.*?)^```\n+", re.MULTILINE | re.DOTALL)
PATIENCE_S = 20.0


def examples() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each block of commands with the blocks that follow it at once: what it prints."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    end = -1
    for block in BLOCK.finditer(GUIDE.read_text()):
        if block["kind"] == "sh":
            found.append((block["text"], []))
        else:
            assert block.start() == end, f"nothing prints {block['text']!r}"
            found[-1][1].append((block["kind"], block["text"]))
        end = block.end()
    return [example for example in found if example[1]]


class Game:
    """Plays all games of a host: what it is told comes by the bus, what becomes of it goes back the same way."""

    def __init__(self, host: ScriptedHost) -> None:
        self._host = host

    async def play(self, amqp_url: str) -> None:
        async with bus(amqp_url, "games") as broker:
            queue = topology.host_command_queue(self._host.server_id)
            async with subscribe(broker, queue, prefetch=1) as commands:
                while (message := await commands.next()) is not None:
                    await self._obey(message)
                    await commands.acknowledge(message)

    async def _obey(self, message: Any) -> None:
        session_id = int(json.loads(message.body)["session_id"])
        if message.routing_key == routing.command_start(self._host.server_id):
            await self._host.report(session_id, "running")
            await self._print(session_id, "Starting minecraft server")
            used = SessionSample(
                session_id=session_id, cpu_cores=0.5, memory_bytes=734003200, players=3, players_max=20
            )
            await self._host.beat(samples=Samples(taken_at=clock.now(), interval_seconds=15, sessions=[used]))
        elif message.routing_key == routing.command_send_input(self._host.server_id):
            reply = encode(Reply(correlation_id=message.correlation_id, success=True, error=""))
            await self._host.publisher.publish("", message.reply_to, reply, message_id="r", persistent=False)
            await self._print(session_id, decode(SendInput, message.body).input.decode().strip())
        elif message.routing_key == routing.command_stop(self._host.server_id):
            await self._host.report(session_id, "stopped", exit_code=0)

    async def _print(self, session_id: int, text: str) -> None:
        line = LogLine(session_id=session_id, timestamp=1000, source="stdout", message=text)
        await self._host.say(routing.logs_session(session_id), encode(line))


@pytest.fixture
async def site(database_url: str, amqp_url: str, object_store: ObjectStore) -> AsyncIterator[Platform]:
    """Give an api and a processor, with one host whose games are played."""
    infrastructure = Infrastructure(database_url, amqp_url, object_store, docker_host="")
    settings = {"STALE_HOST_THRESHOLD_SECONDS": "600", "OUTBOX_POLL_SECONDS": "0.3"}
    async with (
        Platform(infrastructure, parts=("api", "processor"), settings=settings) as started,
        by_grpc(started.grpc) as control,
        scripted_host(control, amqp_url) as host,
    ):
        playing = asyncio.get_running_loop().create_task(Game(host).play(amqp_url))
        yield started
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


@pytest.fixture
def shell(site: Platform, tmp_path: Path) -> dict[str, str]:
    """Give the environment of a shell that has curl, grpcurl and the variables that the page names."""
    apt.install_missing({"curl": shutil.which("curl") is not None})
    wrapper = tmp_path / "grpcurl"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    wrapper.chmod(0o755)
    here = {"MANMAN_REST": site.rest, "MANMAN_GRPC": site.grpc, "MANMAN_TOKEN": "none-is-looked-at"}
    programs = Path(shutil.which("curl") or "").parent
    return {"PATH": f"{tmp_path}:{programs}:{os.defpath}", **here}


@pytest.mark.timeout(240)
async def test_every_example_does_what_the_page_says(shell: dict[str, str]) -> None:
    for commands, outputs in examples():
        only_reads = " -d " not in commands and " -X " not in commands
        if only_reads:  # it may take a moment until there is something to read
            await eventually(lambda: run(commands, outputs, shell), timeout_s=PATIENCE_S)  # noqa: B023 - called at once
        else:
            await run(commands, outputs, shell)


def test_no_command_of_the_page_is_left_out() -> None:
    told = [line for line in GUIDE.read_text().splitlines() if line.startswith(("curl ", "grpcurl "))]
    run_here = [line for commands, _ in examples() for line in commands.splitlines()]
    assert len(told) > 20
    assert [line for line in told if line not in run_here] == []


async def run(commands: str, outputs: list[tuple[str, str]], environment: dict[str, str]) -> None:
    """Run commands; AssertionError unless they print what the page shows. What never ends by itself is ended then."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        commands,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    goes_on = " -N " in commands
    printed = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await process.stdout.read(65536):
                printed += chunk.decode()
                if goes_on and not any(complaints(kind, text, printed) for kind, text in outputs):
                    break
    finally:
        if process.returncode is None and goes_on:
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
    found = [line for kind, text in outputs for line in complaints(kind, text, printed)]
    assert found == [], f"{commands}\nprinted\n{printed}"


def complaints(kind: str, told: str, printed: str) -> list[str]:
    if kind == "text":
        lines = ".*".join(map(pattern, told.strip().splitlines()))
        return [] if re.search(lines, printed, re.DOTALL) else [f"{told!r} is not printed"]
    wanted, found = list(documents(told)), list(documents(printed))
    if len(wanted) != len(found):
        return [f"{len(found)} answers instead of {len(wanted)}"]
    return [line for one, other in zip(wanted, found, strict=True) for line in missing(one, other)]


def documents(text: str) -> Iterator[Any]:
    """Return the JSON documents that stand one behind the other in a text; what is none ends it."""
    decoder = json.JSONDecoder()
    rest = text.strip()
    while rest.startswith(("{", "[")):
        value, end = decoder.raw_decode(rest)
        yield value
        rest = rest[end:].strip()
