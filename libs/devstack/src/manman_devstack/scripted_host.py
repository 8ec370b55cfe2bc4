"""A *scripted host* says on the bus what a test wants said, as another implementation of the host would.

It registers through the API and owns a command queue, but runs nothing: for the flows in which the order and content of
reports matter, and for reports that a sane host never sends.
"""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr

from manman.bus import topology
from manman.bus.connection import Connection, connect
from manman.bus.publisher import Publisher
from manman.bus.subscription import subscribe
from manman.messages import routing
from manman.messages.codec import decode, encode
from manman.messages.commands import Reply, SendInput
from manman.messages.health import Heartbeat, Samples, SessionInventoryItem
from manman.settings import BusSettings
from manman_devstack.control import Control


@dataclass
class ScriptedHost:
    """One registered host; its boot id and numbers rise as those of a real one do."""

    server_id: int
    publisher: Publisher
    boot_id: uuid.UUID = field(default_factory=uuid.uuid4)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def beat(self, sessions: list[SessionInventoryItem] | None = None, *, samples: Samples | None = None) -> None:
        """Send a heartbeat, with an inventory and with numbers if they are given."""
        beat = Heartbeat(server_id=self.server_id, host_boot_id=self.boot_id, sessions=sessions, samples=samples)
        await self.say(routing.health_host(self.server_id), encode(beat))

    async def report(self, session_id: int, status: str, **more: object) -> str:
        """Report a session's status; `more` is any other key of the body. Returns the message id."""
        body = {
            "session_id": session_id,
            "status": status,
            "event_id": str(uuid.uuid4()),
            "host_boot_id": str(self.boot_id),
            "seq": next(self._numbers),
            **more,
        }
        return await self.say(routing.status_session(session_id), json.dumps(body).encode())

    async def report_self(self, status: str) -> str:
        """Report the host's own status."""
        body = {"server_id": self.server_id, "status": status}
        return await self.say(routing.status_host(self.server_id), json.dumps(body).encode())

    async def say(self, routing_key: str, body: bytes, message_id: str = "") -> str:
        """Publish anything, also what makes no sense; returns the message id."""
        message_id = message_id or str(uuid.uuid4())
        await self.publisher.publish(routing.EXCHANGE, routing_key, body, message_id=message_id, mandatory=True)
        return message_id


@contextlib.asynccontextmanager
async def bus(amqp_url: str, name: str = "test") -> AsyncIterator[Connection]:
    """Keep a connection to that broker for the block."""
    async with connect(BusSettings(rabbitmq_url=SecretStr(amqp_url)), name) as connection:
        yield connection


@contextlib.asynccontextmanager
async def scripted_host(control: Control, amqp_url: str) -> AsyncIterator[ScriptedHost]:
    """Register a host under a name of its own and connect it for the block."""
    async with bus(amqp_url) as connection, Publisher(connection) as publisher:
        answer = await control.call("RegisterServer", name=f"scripted-{uuid.uuid4().hex[:12]}", environment="test")
        server_id = int(answer["server_id"])
        await topology.declare_host_command_queue(connection, server_id)
        yield ScriptedHost(server_id, publisher)


@contextlib.asynccontextmanager
async def console(amqp_url: str, server_id: int, refusal: str = "") -> AsyncIterator[list[bytes]]:
    """Answer for a host what is to be written to its games; gives the texts in their order.

    With a `refusal` each is refused in these words. Other commands are taken and not answered.
    """
    heard: list[bytes] = []
    queue = topology.host_command_queue(server_id)
    async with (
        bus(amqp_url, "console") as connection,
        Publisher(connection) as publisher,
        subscribe(connection, queue, prefetch=1) as commands,
        asyncio.TaskGroup() as group,
    ):

        async def answer() -> None:
            while (message := await commands.next()) is not None:
                if message.routing_key == routing.command_send_input(server_id):
                    heard.append(decode(SendInput, message.body).input)
                    reply = Reply(correlation_id=message.correlation_id or "", success=not refusal, error=refusal)
                    await publisher.publish("", message.reply_to or "", encode(reply), message_id="r", persistent=False)
                await commands.acknowledge(message)

        answering = group.create_task(answer())
        yield heard
        answering.cancel()
