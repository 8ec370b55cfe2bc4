"""What a test of a whole flow looks at and works with: the rows, the events, and shortcuts to a session.

Everything goes around the code under test: plain SQL, plain AMQP, and the public API.
"""

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import docker
import psycopg
from docker.models.containers import Container
from psycopg.rows import dict_row

from manman_devstack.control import Control, Json
from manman_devstack.demo.rest import Rest
from manman_devstack.onlooker import Onlooker, Seen


@dataclass
class Database:
    """Read-only eyes on the platform's database, around our own code."""

    url: str

    async def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query, by column name."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def row(self, query: str, *values: object) -> dict[str, Any]:
        """Return the only row of a query."""
        (row,) = await self.rows(query, *values)
        return row

    async def session(self, session_id: int) -> dict[str, Any]:
        """Return the row of a session."""
        return await self.row("SELECT * FROM sessions WHERE session_id = %s", session_id)

    async def status_is(self, session_id: int, *statuses: str) -> dict[str, Any]:
        """Return the row of a session; AssertionError unless its status is one of these, so that `eventually` waits."""
        row = await self.session(session_id)
        if row["status"] not in statuses:
            raise AssertionError(
                f"session {session_id} is {row['status']}: {row['status_reason']} {row['status_message']}"
            )
        return row


@dataclass
class Subscriber:
    """A queue bound to the external exchange, and everything that came out of it.

    An event may come twice; as every subscriber must, this one knows a copy by its message id and drops it.
    """

    onlooker: Onlooker
    queue: str
    seen: list[Seen] = field(default_factory=list)

    async def events(self, **fields: object) -> list[tuple[str, Json]]:
        """Return every event so far whose body has these fields, oldest first, with its routing key."""
        for one in await self.onlooker.take_all(self.queue):
            if all(one.message_id != other.message_id for other in self.seen):
                self.seen.append(one)
        bodies = [(one.routing_key, json.loads(one.body)) for one in self.seen]
        return [(key, body) for key, body in bodies if fields.items() <= body.items()]

    async def keys(self, **fields: object) -> list[str]:
        """Return only the routing keys of these events."""
        return [key for key, _ in await self.events(**fields)]

    async def expect(self, *keys: str, **fields: object) -> None:
        """Raise AssertionError unless exactly these events came, in this order."""
        found = await self.keys(**fields)
        if found != list(keys):
            raise AssertionError(f"events so far: {found}")


@dataclass
class Engine:
    """Sees the containers of one platform in the Docker engine."""

    client: docker.DockerClient
    labels: Sequence[str]

    def container(self, session_id: int, kind: str) -> Container:
        """Return the only running container of a session: its "game" or its "wrapper"."""
        labels = [*self.labels, f"manman.session_id={session_id}", f"manman.type={kind}"]
        (found,) = self.client.containers.list(filters={"label": labels})
        return found


@dataclass
class Stage:
    """Makes what a session needs, over whichever door it was given."""

    control: Control

    async def config(self, **more: object) -> int:
        """Create a game with one config and return the config's id; `more` goes into the config."""
        game = await self.control.call("CreateGame", name=f"game-{uuid.uuid4().hex[:12]}")
        fields: Json = {"name": "plain", "image": "manman-test-echo:dev", "stop_command": "quit", **more}
        made = await self.control.call("CreateGameConfig", game_id=game["game"]["game_id"], **fields)
        return int(made["config"]["config_id"])

    async def deployment(self, server_id: int, **more: object) -> int:
        """Deploy a new config to a host and return the deployment's id."""
        ports = more.pop("port_bindings", [])
        config_id = await self.config(**more)
        made = await self.control.call(
            "DeployGameConfig", server_id=server_id, game_config_id=config_id, port_bindings=ports
        )
        return int(made["config"]["server_game_config_id"])

    async def start(self, deployment_id: int, **more: object) -> int:
        """Start a session and return its id."""
        made = await self.control.call("StartSession", server_game_config_id=deployment_id, **more)
        return int(made["session"]["session_id"])

    async def say(self, session_id: int, line: str) -> None:
        """Type a line at a session's console; raises what the API raises."""
        await self.control.call(
            "SendInput", session_id=session_id, input=base64.b64encode(f"{line}\n".encode()).decode()
        )


async def lines_until(rest_url: str, session_id: int, text: str, *, timeout_s: float = 15.0) -> list[str]:
    """Read a session's log as a browser does, from its first line, until a line holds `text`; return the lines."""
    lines: list[str] = []
    path = f"/v1/sessions/{session_id}/logs:stream"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), Rest(rest_url) as rest, rest.events(path) as events:
            async for event in events:
                lines.append(event["message"])
                if text in lines[-1]:
                    return lines
    raise AssertionError(f"{text!r} is not among {lines}")
