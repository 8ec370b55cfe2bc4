from __future__ import annotations

import asyncio
import pathlib
import sys

from pydantic import SecretStr

from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.settings import BusSettings

PROGRAM = pathlib.Path(__file__).parents[3] / "examples" / "external_subscriber" / "subscriber.py"
EVENTS = (
    ("manman.host.online", b'{"server_id": 1, "status": "online", "event_id": "a"}', "host 1 is online"),
    ("manman.session.running", b'{"session_id": 7, "event_id": "b"}', "session 7 is running"),
    ("manman.session.running", b'{"session_id": 7, "event_id": "b"}', None),
    ("manman.session.crashed", b"{half of", "unreadable event manman.session.crashed"),
    (
        "manman.session.crashed",
        b'{"session_id": 7, "event_id": "c", "exit_code": 137, "reason": "signal"}',
        "session 7 is crashed, exit_code 137, reason signal",
    ),
)


async def test_the_example_subscriber_tells_each_event_once_and_survives_nonsense(amqp_url: str) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env={"RABBITMQ_URL": amqp_url}, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await program.stdout.readline() == b"listening on external-subscriber-events\n"
            async with (
                connect(BusSettings(rabbitmq_url=SecretStr(amqp_url)), "test") as connection,
                Publisher(connection) as publisher,
            ):
                for number, (key, body, _) in enumerate(EVENTS):
                    await publisher.publish("external", key, body, message_id=str(number))
            for _, _, told in EVENTS:
                if told is not None:
                    assert (await program.stdout.readline()).decode().startswith(told)
    finally:
        program.kill()
        await program.wait()
