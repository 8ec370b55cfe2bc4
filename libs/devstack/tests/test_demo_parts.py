from __future__ import annotations

import asyncio
import io
import uuid
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.bus.topology import Queue
from manman.settings import BusSettings
from manman_devstack.demo.addresses import read_addresses
from manman_devstack.demo.failure import DemoError
from manman_devstack.demo.rest import Rest
from manman_devstack.demo.screen import Screen
from manman_devstack.demo.subscriber import Subscriber, subscribe
from manman_devstack.demo.watch import visible

if TYPE_CHECKING:
    import pathlib

STACK_ENV = """\
# Written by `make up`
export MANMAN_REST='http://127.0.0.1:8080/'
MANMAN_UI=http://127.0.0.1:8000
export RABBITMQ_URL='amqp://a:b c@127.0.0.1/'
export DOCKER_HOST=unix:///x.sock
"""


def test_the_addresses_are_read_as_a_shell_would(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "stack.env"
    file.write_text(STACK_ENV)

    addresses = read_addresses(file)

    assert addresses.rest == "http://127.0.0.1:8080"
    assert addresses.rabbitmq_url == "amqp://a:b c@127.0.0.1/"
    assert addresses.logs == str(tmp_path / "logs")


def test_without_a_running_platform_the_demo_says_how_to_start_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DemoError, match="make up"):
        read_addresses(tmp_path / "stack.env")


def test_a_missing_address_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "stack.env"
    file.write_text("export MANMAN_REST=http://x\n")

    with pytest.raises(DemoError, match="MANMAN_UI, RABBITMQ_URL, DOCKER_HOST"):
        read_addresses(file)


def test_steps_are_numbered_and_a_terminal_without_utf8_gets_ascii_without_colours() -> None:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"), colours=False)

    with screen.step("first"):
        screen.quote("x" * 200)
    with screen.step("second"):
        screen.status("running")

    text = raw.getvalue().decode("ascii")
    assert " 1  first" in text
    assert " 2  second" in text
    assert max(map(len, text.splitlines())) <= 110


def test_a_failed_step_is_not_ticked_off() -> None:
    out = io.StringIO()
    screen = Screen(out, colours=False)

    with pytest.raises(DemoError), screen.step("doomed"):
        raise DemoError("no")

    assert "ok" not in out.getvalue()


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({"status": "starting", "phase": "pull", "progress_percent": 10}, "pull, 10 %"),
        (
            {"status": "crashed", "started_at": "5", "exit_code": 137, "status_reason": "oom"},
            "exit code 137, reason oom",
        ),
        (
            {"status": "crashed", "started_at": "0", "exit_code": 0, "status_reason": "x", "status_message": "why"},
            "reason x: why",
        ),
        ({"status": "running", "phase": "ready"}, "ready"),
        ({"status": "stopping", "phase": "ready"}, ""),
    ],
)
def test_a_state_is_shown_with_what_matters_about_it(session: dict[str, object], expected: str) -> None:
    assert visible(session) == (session["status"], expected)


async def publish(amqp_url: str, *events: tuple[str, str]) -> None:
    async with (
        connect(BusSettings(rabbitmq_url=SecretStr(amqp_url)), "test") as connection,
        Publisher(connection) as publisher,
    ):
        for key, body in events:
            await publisher.publish("external", key, body.encode(), message_id=str(uuid.uuid4()))


async def test_a_subscriber_takes_a_repeated_event_for_one(amqp_url: str) -> None:
    async with subscribe(amqp_url) as subscriber:
        await publish(
            amqp_url,
            ("manman.session.running", '{"session_id": 7, "event_id": "a"}'),
            ("manman.session.running", '{"session_id": 7, "event_id": "a"}'),
            ("manman.session.running", '{"session_id": 8, "event_id": "b"}'),
            ("manman.session.stopped", '{"session_id": 7, "event_id": "c"}'),
        )

        await subscriber.wait_for(
            ["7"], [("7", "manman.session.running"), ("7", "manman.session.stopped")], timeout_s=10
        )


async def test_events_in_another_order_are_a_failure_that_lists_both(amqp_url: str) -> None:
    async with subscribe(amqp_url) as subscriber:
        await publish(amqp_url, ("manman.session.stopped", '{"session_id": 7, "event_id": "c"}'))

        with pytest.raises(DemoError, match="another order") as failure:
            await subscriber.wait_for(["7"], [("7", "manman.session.running")], timeout_s=10)

    assert failure.value.details == [
        "expected: session 7 manman.session.running",
        "received: session 7 manman.session.stopped",
    ]


async def test_waiting_for_events_has_a_limit() -> None:
    with pytest.raises(DemoError, match="for an external event"):
        await Subscriber(Queue(name="quiet")).wait_for(["7"], [("7", "manman.session.running")], timeout_s=0.05)


async def served(response: bytes) -> tuple[asyncio.Server, str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    return server, f"http://{host}:{port}"


async def events_of(body: bytes) -> list[dict[str, object]]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    server, url = await served(head + body)
    async with server, Rest(url) as rest, rest.events("/logs") as events:
        return [event async for event in events]


async def test_an_event_stream_is_read_to_its_end() -> None:
    body = b"".join(
        [
            b": hello\n\n",
            b'id: 1\ndata: {"message":"a"}\n\n',
            b"event: other\ndata: 5\n\n",
            b'data: {"message":\ndata: "b"}\n\n',
            b"event: end\ndata: {}\n\n",
        ]
    )

    assert await events_of(body) == [{"message": "a"}, {"message": "b"}]


async def test_an_event_stream_that_breaks_off_is_a_failure() -> None:
    with pytest.raises(DemoError, match="broke off"):
        await events_of(b'data: {"message":"a"}\n\n')


async def test_a_refusal_shows_what_was_refused_and_why() -> None:
    body = b'{"code": 5, "message": "there is no session 9"}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    server, url = await served(head + body)

    async with server, Rest(url) as rest:
        with pytest.raises(DemoError, match=r"GET .*/v1/sessions/9 was refused with 404") as failure:
            await rest.get("/v1/sessions/9")

    assert any("there is no session 9" in line for line in failure.value.details)
