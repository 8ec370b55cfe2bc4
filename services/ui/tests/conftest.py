"""A control plane that speaks the contract over real gRPC and says what a test tells it, and the UI in front of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from playwright.async_api import async_playwright

from manman import clock
from manman.v1 import (
    actions_pb2,
    api_pb2_grpc,
    game_configs_pb2,
    games_pb2,
    log_processor_pb2_grpc,
    logs_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    stats_pb2,
    values_pb2,
    volumes_pb2,
)
from manman_devstack.browser import ensure as ensure_chromium
from manman_ui import app
from manman_ui.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, Page

LIVE = ("pending", "starting", "running", "stopping")


class ControlPlane(api_pb2_grpc.ManManAPIServicer, log_processor_pb2_grpc.LogProcessorServicer):
    """Scripted data behind the generated services. Tests change the dictionaries; viewers see it."""

    def __init__(self) -> None:
        self.servers: dict[int, servers_pb2.Server] = {}
        self.games: dict[int, games_pb2.Game] = {}
        self.configs: dict[int, game_configs_pb2.GameConfig] = {}
        self.deployments: dict[int, server_game_configs_pb2.ServerGameConfig] = {}
        self.sessions: dict[int, sessions_pb2.Session] = {}
        self.lines: dict[int, list[logs_pb2.LogMessage]] = {}
        self.inputs: list[tuple[int, bytes]] = []
        self.starts: list[sessions_pb2.StartSessionRequest] = []
        self.stops: list[sessions_pb2.StopSessionRequest] = []
        self.calls: list[str] = []
        self.log_requests: list[int] = []
        self.away = False
        self.port = 0
        self.input_error = ""
        self.actions: dict[int, actions_pb2.ActionDefinition] = {}
        self.executions: list[actions_pb2.ActionExecution] = []
        self.action_error = ""
        self.stats: list[stats_pb2.SessionStatsPoint] = []

    # ---- what tests do

    def say(self, session_id: int, text: str, source: str = "stdout") -> None:
        lines = self.lines.setdefault(session_id, [])
        number = len(lines) + 1
        lines.append(
            logs_pb2.LogMessage(
                session_id=session_id,
                timestamp=1763900000000 + number * 1000,
                source=source,
                message=text,
                sequence_number=number,
            )
        )

    async def _up(self, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.calls.append(name)
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database is away")

    # ---- the contract

    async def ListServers(self, request: Any, context: Any) -> Any:
        await self._up("ListServers", context)
        return servers_pb2.ListServersResponse(servers=self.servers.values())

    async def DrainServer(self, request: Any, context: Any) -> Any:
        await self._up("DrainServer", context)
        self.servers[request.server_id].draining = True
        return servers_pb2.DrainServerResponse(server=self.servers[request.server_id])

    async def UndrainServer(self, request: Any, context: Any) -> Any:
        await self._up("UndrainServer", context)
        self.servers[request.server_id].draining = False
        return servers_pb2.UndrainServerResponse(server=self.servers[request.server_id])

    async def ListGames(self, request: Any, context: Any) -> Any:
        await self._up("ListGames", context)
        return games_pb2.ListGamesResponse(games=self.games.values())

    async def ListGameConfigs(self, request: Any, context: Any) -> Any:
        await self._up("ListGameConfigs", context)
        return game_configs_pb2.ListGameConfigsResponse(configs=self.configs.values())

    async def ListGameConfigVolumes(self, request: Any, context: Any) -> Any:
        await self._up("ListGameConfigVolumes", context)
        volume = volumes_pb2.GameConfigVolume(
            volume_id=1, config_id=request.config_id, name="data", container_path="/data"
        )
        return volumes_pb2.ListGameConfigVolumesResponse(volumes=[volume])

    async def ListServerGameConfigs(self, request: Any, context: Any) -> Any:
        await self._up("ListServerGameConfigs", context)
        return server_game_configs_pb2.ListServerGameConfigsResponse(configs=self.deployments.values())

    async def ListSessions(self, request: Any, context: Any) -> Any:
        await self._up("ListSessions", context)
        found = [
            session
            for _, session in sorted(self.sessions.items(), reverse=True)
            if (not request.live_only or session.status in LIVE)
            and (not request.status_filter or session.status in request.status_filter)
            and request.server_id in (0, session.server_id)
            and request.server_game_config_id in (0, session.server_game_config_id)
        ]
        first = int(request.page_token or 0)
        size = request.page_size or 50
        token = str(first + size) if len(found) > first + size else ""
        return sessions_pb2.ListSessionsResponse(sessions=found[first : first + size], next_page_token=token)

    async def GetSession(self, request: Any, context: Any) -> Any:
        await self._up("GetSession", context)
        if request.session_id not in self.sessions:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no session {request.session_id}")
        return sessions_pb2.GetSessionResponse(session=self.sessions[request.session_id])

    async def GetSessionCrashRecord(self, request: Any, context: Any) -> Any:
        await self._up("GetSessionCrashRecord", context)
        if self.sessions[request.session_id].status != "crashed":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no crash of session {request.session_id}")
        lines = [
            sessions_pb2.CrashLine(source=line.source, message=line.message)
            for line in self.lines.get(request.session_id, [])
        ]
        return sessions_pb2.GetSessionCrashRecordResponse(record=sessions_pb2.CrashRecord(lines=lines))

    async def GetSessionStats(self, request: Any, context: Any) -> Any:
        await self._up("GetSessionStats", context)
        points = [point for point in self.stats if request.since <= point.at < request.until]
        return stats_pb2.GetSessionStatsResponse(points=points, resolution_seconds=request.resolution_seconds)

    async def StartSession(self, request: Any, context: Any) -> Any:
        await self._up("StartSession", context)
        self.starts.append(request)
        live = [
            session
            for session in self.sessions.values()
            if session.server_game_config_id == request.server_game_config_id and session.status in LIVE
        ]
        if live and not request.force:
            text = f"session {live[0].session_id} is {live[0].status}; set force to replace it"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        for session in live:
            session.status = "stopped"
        deployment = self.deployments[request.server_game_config_id]
        session = sessions_pb2.Session(
            session_id=max(self.sessions, default=0) + 1,
            server_game_config_id=request.server_game_config_id,
            server_id=deployment.server_id,
            status="pending",
            created_at=1763900000,
        )
        self.sessions[session.session_id] = session
        return sessions_pb2.StartSessionResponse(session=session)

    async def StopSession(self, request: Any, context: Any) -> Any:
        await self._up("StopSession", context)
        self.stops.append(request)
        session = self.sessions[request.session_id]
        session.status = "stopped" if request.force else "stopping"
        return sessions_pb2.StopSessionResponse(session=session)

    async def SendInput(self, request: Any, context: Any) -> Any:
        await self._up("SendInput", context)
        if self.input_error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.input_error)
        self.inputs.append((request.session_id, request.input))
        return sessions_pb2.SendInputResponse()

    async def GetSessionActions(self, request: Any, context: Any) -> Any:
        await self._up("GetSessionActions", context)
        is_running = self.sessions[request.session_id].status == "running"
        return actions_pb2.GetSessionActionsResponse(actions=self.actions.values() if is_running else ())

    async def ListActionExecutions(self, request: Any, context: Any) -> Any:
        await self._up("ListActionExecutions", context)
        return actions_pb2.ListActionExecutionsResponse(executions=self.executions[::-1][: request.limit])

    async def ExecuteAction(self, request: Any, context: Any) -> Any:
        await self._up("ExecuteAction", context)
        execution = actions_pb2.ActionExecution(
            execution_id=len(self.executions) + 1,
            action_name=self.actions[request.action_id].name,
            session_id=request.session_id,
            input_values=request.input_values,
            rendered_command="" if self.action_error else "the command",
            status="validation_error" if self.action_error else "success",
            error_message=self.action_error,
            triggered_by="ann",
            executed_at=1763900000,
        )
        self.executions.append(execution)
        return actions_pb2.ExecuteActionResponse(success=not self.action_error, error_message=self.action_error)

    async def StreamSessionLogs(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._up("StreamSessionLogs", context)
        self.log_requests.append(request.after_sequence_number)
        sent = request.after_sequence_number
        while not self.away:
            for line in self.lines.get(request.session_id, [])[sent:]:
                yield line
                sent = line.sequence_number
            if self.sessions[request.session_id].status not in LIVE:
                return
            await asyncio.sleep(0.02)


def fill(plane: ControlPlane, now: int) -> None:
    """Two hosts, two games, three deployments and sessions in every state that people meet."""
    can = servers_pb2.ServerCapabilities(
        total_memory_mb=32768,
        available_memory_mb=21900,
        cpu_cores=8,
        docker_version="27.3.1",
        available_ports=[servers_pb2.PortRange(start=27000, end=27999, protocol="UDP")],
    )
    for server in (
        servers_pb2.Server(
            server_id=1,
            name="atlas",
            status="online",
            last_seen=now - 1,
            environment="production",
            is_default=True,
            capabilities=can,
            features=["wrapper", "streams"],
            public_address="play.example.org",
        ),
        servers_pb2.Server(server_id=2, name="borealis", status="offline", last_seen=now - 260, environment="staging"),
    ):
        plane.servers[server.server_id] = server
    for game_id, name, genre, tags in (
        (1, "OpenTTD", "Simulation", ["open source", "trains"]),
        (2, "Teeworlds", "Shooter", ["2D"]),
    ):
        plane.games[game_id] = games_pb2.Game(
            game_id=game_id, name=name, metadata=games_pb2.GameMetadata(genre=genre, max_players=25, tags=tags)
        )
    parameters = [
        values_pb2.Parameter(
            key="server_name", type="string", default_value="ManMan", description="shown in the server list"
        ),
        values_pb2.Parameter(key="max_clients", type="int", default_value="15", required=True),
    ]
    plane.configs[1] = game_configs_pb2.GameConfig(
        config_id=1,
        game_id=1,
        name="Temperate, 1950",
        image="manman/openttd:14",
        stop_command="quit",
        stop_timeout_seconds=30,
        parameters=parameters,
        env_template={"TZ": "UTC", "RCON_PASSWORD": "swordfish"},
    )
    plane.configs[2] = game_configs_pb2.GameConfig(
        config_id=2, game_id=2, name="Capture the flag", image="manman/teeworlds:0.7"
    )
    for key, server_id, config_id, port, protocol in (
        (1, 1, 1, 27001, "TCP"),
        (2, 1, 2, 27002, "UDP"),
        (3, 2, 2, 8303, "UDP"),
    ):
        plane.deployments[key] = server_game_configs_pb2.ServerGameConfig(
            server_game_config_id=key,
            server_id=server_id,
            game_config_id=config_id,
            port_bindings=[values_pb2.PortBinding(container_port=3979, host_port=port, protocol=protocol, name="game")],
            connect_addresses=[
                values_pb2.ConnectAddress(
                    address=f"{plane.servers[server_id].public_address or plane.servers[server_id].name}:{port}",
                    protocol=protocol,
                    name="game",
                    container_port=3979,
                )
            ],
            env_overrides={"MODE": "hard", "RCON_PASSWORD": "swordfish"},
        )
    for key, deployment_id, server_id, status, more in (
        (
            1,
            1,
            1,
            "crashed",
            {
                "exit_code": 139,
                "status_reason": "signal",
                "status_message": "signal 11 (SIGSEGV)",
                "started_at": now - 9000,
                "ended_at": now - 7300,
            },
        ),
        (2, 1, 1, "stopped", {"started_at": now - 7000, "ended_at": now - 6000}),
        (3, 2, 1, "completed", {"started_at": now - 90000, "ended_at": now - 88000, "status_reason": "exited"}),
        (4, 1, 1, "running", {"created_at": now - 5405, "started_at": now - 5400, "last_event_at": now - 3}),
    ):
        plane.sessions[key] = sessions_pb2.Session(
            session_id=key, server_game_config_id=deployment_id, server_id=server_id, status=status, **more
        )


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    fill(plane, int(clock.now().timestamp()))
    server = grpc.aio.server()
    api_pb2_grpc.add_ManManAPIServicer_to_server(plane, server)
    log_processor_pb2_grpc.add_LogProcessorServicer_to_server(plane, server)
    plane.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield plane
    plane.away = True
    await server.stop(0.2)


@pytest.fixture
async def ui(plane: ControlPlane) -> AsyncIterator[app.Running]:
    settings = Settings(
        host="127.0.0.1",
        port=0,
        health_check_host="127.0.0.1",
        health_check_port=0,
        control_api_url=f"127.0.0.1:{plane.port}",
        live_interval_seconds=0.1,
    )
    async with app.serving(settings) as running:
        yield running


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=ensure_chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
        )
        yield browser
        await browser.close()


class Watched:
    """A page and everything it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )


@pytest.fixture
async def watched(browser: Browser, ui: app.Running) -> AsyncIterator[Watched]:
    """Give a page with scripts; the test fails if the page reported any error."""
    context: BrowserContext = await browser.new_context(base_url=ui.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    watched = Watched(await context.new_page())
    yield watched
    await context.close()
    assert watched.complaints == []


@pytest.fixture
async def plain_page(browser: Browser, ui: app.Running) -> AsyncIterator[Page]:
    """Give a page without scripts."""
    context = await browser.new_context(base_url=ui.url, java_script_enabled=False)
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()
