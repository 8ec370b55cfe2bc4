"""The demo's steps, in the order in which they are told."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from docker.errors import DockerException

from manman.logs import configure
from manman_devstack import images, probes
from manman_devstack.demo import catalogue
from manman_devstack.demo.addresses import Addresses, read_addresses
from manman_devstack.demo.failure import DemoError
from manman_devstack.demo.rest import Json, Rest
from manman_devstack.demo.screen import Screen
from manman_devstack.demo.subscriber import Subscriber, subscribe
from manman_devstack.demo.villain import kill_game
from manman_devstack.demo.watch import LogTail, follow, visible, wait_for_status
from manman_devstack.home import REPOSITORY, main_home

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")

GAME_FILE = REPOSITORY / "examples" / "games" / "openttd" / "game.yaml"

WHOLE_DEMO_S = 180.0
HOST_ONLINE_S = 30.0
START_S = 60.0
STOP_S = 30.0
CRASH_S = 20.0
PROBE_S = 20.0
LOG_S = 15.0
EVENTS_S = 15.0

MESSAGE = "hello from ManMan"
KILLED_EXIT_CODE = 128 + 9
LISTENS = "Network revision name"
MAKES_WORLD, WORLD_IS_MADE = "making a new world", "starting game"
SHOWN_LINES = 4


def run(*, game_address: str = "127.0.0.1") -> int:
    """Play the demo against the platform that `make up` started; return the exit code.

    `game_address` is where players reach the games of this machine's host.
    """
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    screen = Screen(sys.stdout, colours=bool(colours))
    configure("warning", "console", "demo")
    failure: DemoError | None = None
    logs = ""
    try:
        addresses = read_addresses(main_home().path / "stack.env")
        logs = addresses.logs
        asyncio.run(_limited(Story(addresses, screen, game_address)))
    except* DemoError as group:
        failure = first_failure(group)
    if failure is None:
        return 0
    screen.fail(str(failure), [*failure.details, *([f"service logs: {logs}/*.log"] if logs else [])])
    return 1


def first_failure(group: BaseExceptionGroup[DemoError]) -> DemoError:
    """Return the first leaf of a group of failures."""
    first = group.exceptions[0]
    return first_failure(first) if isinstance(first, BaseExceptionGroup) else first


async def _limited(story: Story) -> None:
    try:
        async with asyncio.timeout(WHOLE_DEMO_S):
            await story.play()
    except TimeoutError as error:
        raise DemoError(f"the whole demo should have ended within {WHOLE_DEMO_S:.0f} s") from error


class Story:
    """One performance: what it talks to, and what it has learned so far."""

    def __init__(self, addresses: Addresses, screen: Screen, game_address: str) -> None:
        """Prepare; nothing happens before `play`."""
        self._addresses = addresses
        self._screen = screen
        self._game_address = game_address

    async def play(self) -> None:
        """Tell the whole story. DemoError as soon as something is not as it should be."""
        screen = self._screen
        screen.title("ManMan demo: one real game, through every part of the platform")
        async with Rest(self._addresses.rest) as rest:
            server = await self._meet_host(rest)
            deployment = await self._deploy(rest, server)
            async with subscribe(self._addresses.rabbitmq_url) as subscriber:
                with screen.step("Subscribe to the external exchange, as any outside program may"):
                    screen.say("queue", f"{subscriber.queue.name}, bound with {', '.join(subscriber.queue.keys)}")
                crashed = await self._first_session(rest, deployment)
                stopped = await self._second_session(rest, deployment)
                await self._show_events(subscriber, crashed, stopped)
        self._close(stopped)

    async def _meet_host(self, rest: Rest) -> Json:
        """Wait until a host of this platform is online."""
        with self._screen.step("Find this machine's host, which registered itself"):
            deadline = time.monotonic() + HOST_ONLINE_S
            while True:
                servers = await rest.every("/v1/servers", "servers")
                online = [server for server in servers if server["status"] == "online"]
                if online:
                    break
                if time.monotonic() > deadline:
                    known = [f"last seen: server {server['name']} is {server['status']}" for server in servers]
                    raise DemoError(f"waited {HOST_ONLINE_S:.0f} s for a host to be online", known)
                await asyncio.sleep(0.1)
            server = max(online, key=lambda candidate: int(candidate.get("last_seen", 0)))
            resources = server.get("capabilities") or {}
            self._screen.say("host", f"{server['server_id']} {server['name']}, online")
            if resources.get("cpu_cores"):
                memory_gb = resources.get("total_memory_mb", 0) / 1024
                engine = resources.get("docker_version", "?")
                self._screen.say("has", f"{resources['cpu_cores']} cores, {memory_gb:.0f} GB, Docker {engine}")
            return server

    async def _deploy(self, rest: Rest, server: Json) -> Json:
        """Load the game through the REST API and deploy it."""
        screen, document = self._screen, catalogue.read_game(GAME_FILE)
        with screen.step(f"Load {GAME_FILE.relative_to(REPOSITORY)} through the REST API"):
            game = await catalogue.keep_game(rest, document["game"])
            screen.say("game", f"{game.value['game_id']} {game.value['name']}: {game.how}")
            await self._have_image()
            config = await catalogue.keep_config(rest, game.value["game_id"], document["config"])
            screen.say("config", f"{config.value['config_id']} {config.value['image']}: {config.how}")
            for wanted in document["volumes"]:
                volume = await catalogue.keep_volume(rest, config.value["config_id"], wanted)
                screen.say("volume", f"{volume.value['name']} at {volume.value['container_path']}: {volume.how}")
        with screen.step("Deploy it, the ports chosen by the platform"):
            deployment = await catalogue.keep_deployment(
                rest, server["server_id"], config.value["config_id"], document["deployment"]
            )
            screen.say("deployment", f"{deployment.value['server_game_config_id']}: {deployment.how}")
            for protocol in ("TCP", "UDP"):
                screen.say("port", f"{catalogue.host_port(deployment.value, protocol)}/{protocol}")
            await self._end_leftovers(rest, deployment.value)
        return deployment.value

    async def _have_image(self) -> None:
        """Build the game's image when the engine has none, or an old one."""
        try:
            await asyncio.to_thread(images.ensure_game, self._addresses.docker_host, GAME_FILE.parent.name)
        except (images.BuildError, DockerException) as error:
            raise DemoError("the game's image cannot be built", str(error).splitlines()) from error

    async def _end_leftovers(self, rest: Rest, deployment: Json) -> None:
        """End what an interrupted demo may have left running."""
        deployment_id = deployment["server_game_config_id"]
        live = await rest.every("/v1/sessions", "sessions", server_game_config_id=deployment_id, live_only="true")
        for session in live:
            session_id = session["session_id"]
            self._screen.say("left over", f"session {session_id} is {session['status']}: stopping it")
            await rest.post(f"/v1/sessions/{session_id}:stop", {"force": True})
            await wait_for_status(rest, session_id, "stopped", timeout_s=STOP_S, screen=self._screen, since=session)

    async def _start(self, rest: Rest, deployment: Json) -> Json:
        """Start a session and tell its states until players can come."""
        body = {"server_game_config_id": deployment["server_game_config_id"]}
        session: Json = (await rest.post("/v1/sessions", body))["session"]
        self._screen.say("session", session["session_id"])
        self._screen.status(*visible(session))
        return await wait_for_status(
            rest, session["session_id"], "running", phase="ready", timeout_s=START_S, screen=self._screen, since=session
        )

    async def _first_session(self, rest: Rest, deployment: Json) -> Json:
        """Start, look, ask, talk, kill."""
        screen = self._screen
        with screen.step("Start a session"):
            session = await self._start(rest, deployment)
        session_id = session["session_id"]
        async with follow(rest, session_id) as tail:
            with screen.step("Read the game's own log, streamed through the broker"):
                await tail.wait_for(LISTENS, timeout_s=LOG_S)
                if MAKES_WORLD in tail.lines:
                    await tail.wait_for(WORLD_IS_MADE, timeout_s=LOG_S)
                self._quote(tail)
            with screen.step("Ask the game itself, as a player's client does"):
                await self._probe(deployment)
            with screen.step("Send a console command through the API"):
                await self._talk(rest, session_id, tail)
            with screen.step("Kill the game's process behind the platform's back"):
                server = (await rest.get(f"/v1/servers/{deployment['server_id']}"))["server"]
                name = await kill_game(self._addresses.docker_host, session_id, server.get("environment", ""))
                screen.say("killed", name)
                session = await wait_for_status(
                    rest, session_id, "crashed", timeout_s=CRASH_S, screen=screen, since=session
                )
                self._expect_exit_code(session, KILLED_EXIT_CODE)
        return session

    async def _second_session(self, rest: Rest, deployment: Json) -> Json:
        """Start again, ask again, stop in good order."""
        screen = self._screen
        with screen.step("Start it again"):
            session = await self._start(rest, deployment)
        with screen.step("Ask the game again"):
            await self._probe(deployment)
        with screen.step("Stop it: the platform types the config's stop command and waits"):
            await rest.post(f"/v1/sessions/{session['session_id']}:stop")
            session = await wait_for_status(
                rest, session["session_id"], "stopped", timeout_s=STOP_S, screen=screen, since=session
            )
            self._expect_exit_code(session, 0)
        return session

    async def _probe(self, deployment: Json) -> None:
        """Ask over TCP and UDP until the game answers; check that it is the server that was configured."""
        tcp, udp = (catalogue.host_port(deployment, protocol) for protocol in ("TCP", "UDP"))
        info = await _retried(lambda: probes.openttd_info(self._game_address, tcp))
        wanted = deployment["parameters"]["server_name"]
        if info.server_name != wanted:
            raise DemoError(f'the server on port {tcp} should be called "{wanted}", not "{info.server_name}"')
        self._screen.say("TCP", f'"{info.server_name}", OpenTTD {info.version}, {info.game_date}')
        self._screen.say("players", f"{info.clients_on} of {info.clients_max}")
        self._screen.say("map", f"{info.map_width} x {info.map_height}")
        await _retried(lambda: probes.openttd_is_found(self._game_address, udp))
        self._screen.say("UDP", "answers a search on the local network")

    async def _talk(self, rest: Rest, session_id: str, tail: LogTail) -> None:
        """Type two lines on the game's console and see what they do."""
        for command, effect in ((f'say "{MESSAGE}"', MESSAGE), ("getdate", "Date: ")):
            before = len(tail.lines)
            typed = base64.b64encode(f"{command}\n".encode()).decode()
            await rest.post(f"/v1/sessions/{session_id}:sendInput", {"input": typed})
            self._screen.say("typed", command)
            self._screen.quote(await tail.wait_for(effect, timeout_s=LOG_S, after=before))

    async def _show_events(self, subscriber: Subscriber, crashed: Json, stopped: Json) -> None:
        """Check and print what the outside program received."""
        first, second = crashed["session_id"], stopped["session_id"]
        expected = [
            (first, "manman.session.running"),
            (first, "manman.session.crashed"),
            (second, "manman.session.running"),
            (second, "manman.session.stopped"),
        ]
        with self._screen.step("What the subscriber received, in order"):
            await subscriber.wait_for([first, second], expected, timeout_s=EVENTS_S)
            rows = [("routing key", "session", "from", "exit code", "reason")]
            for event in subscriber.of_sessions([first, second]):
                body = event.body
                exit_code = "" if body.get("exit_code") is None else str(body["exit_code"])
                rows.append(
                    (
                        event.routing_key,
                        str(body["session_id"]),
                        body.get("previous_status", ""),
                        exit_code,
                        body.get("reason", ""),
                    )
                )
            self._screen.table(rows)

    def _quote(self, tail: LogTail) -> None:
        """Show the first and the last lines so far."""
        lines = tail.lines
        if len(lines) <= 2 * SHOWN_LINES:
            shown = lines
        else:
            left_out = f"... {len(lines) - 2 * SHOWN_LINES} more lines ..."
            shown = [*lines[:SHOWN_LINES], left_out, *lines[-SHOWN_LINES:]]
        for line in shown:
            self._screen.quote(line)

    def _expect_exit_code(self, session: Json, wanted: int) -> None:
        if session.get("exit_code") != wanted:
            raise DemoError(f"the exit code should be {wanted}, not {session.get('exit_code')}")

    def _close(self, session: Json) -> None:
        """Say where everything is, and how to end it."""
        self._screen.close(
            [
                ("dashboard", self._addresses.ui),
                ("last session", f"{self._addresses.ui}/sessions/{session['session_id']}"),
                ("API reference", f"{self._addresses.rest}/docs"),
                ("try", f"curl {self._addresses.rest}/v1/sessions"),
                ("addresses", str((main_home().path / "stack.env").relative_to(REPOSITORY))),
                ("service logs", self._addresses.logs),
                ("end it all", "make down"),
            ]
        )


async def _retried(probe: Callable[[], Awaitable[Answer]]) -> Answer:
    """Probe until the game answers: a published port accepts before the game listens."""
    deadline = time.monotonic() + PROBE_S
    while True:
        try:
            return await probe()
        except probes.ProbeError as error:
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PROBE_S:.0f} s for the game to answer", [f"last try: {error}"]) from error
        await asyncio.sleep(0.1)
