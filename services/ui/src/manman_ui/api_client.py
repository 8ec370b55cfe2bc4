"""The only place in the UI that speaks gRPC: one method a question, typed answers, errors of our own family.

Lists are read to the end, page by page, up to a limit: a screen with more rows than that helps nobody.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from manman.errors import Unavailable
from manman.rpc import client
from manman.v1 import (
    actions_pb2,
    game_configs_pb2,
    games_pb2,
    logs_pb2,
    server_game_configs_pb2,
    servers_pb2,
    sessions_pb2,
    stats_pb2,
    volumes_pb2,
)
from manman.v1.api_pb2_grpc import ManManAPIStub
from manman.v1.log_processor_pb2_grpc import LogProcessorStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    import grpc

PAGE_SIZE = 100
MAX_ROWS = 2000
_TRANSPORT_WORDS = "failed to connect"
MAX_FOLLOWING_S = 24 * 3600.0
"""A log stream is opened anew after this long; the viewer resumes where it was."""

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class ApiClient:
    """Questions and orders to the control plane. Every method may raise `manman.errors`."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float, token: str = "") -> None:
        """Call over `channel`, as the holder of `token` if there is one."""
        self._api = ManManAPIStub(channel)
        self._logs = LogProcessorStub(channel)
        self._timeout_s = timeout_s
        self._token = token

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT], request: RequestT
    ) -> ResponseT:
        with _in_plain_words():
            return await client.call(method, request, timeout_s=self._timeout_s, token=self._token)

    async def ping(self) -> None:
        """Ask for next to nothing, to learn whether the API answers."""
        await self._call(self._api.ListServers, servers_pb2.ListServersRequest(page_size=1))

    async def servers(self) -> list[servers_pb2.Server]:
        """Return every host by id."""
        found: list[servers_pb2.Server] = []
        token = ""
        while len(found) < MAX_ROWS:
            request = servers_pb2.ListServersRequest(page_size=PAGE_SIZE, page_token=token)
            page = await self._call(self._api.ListServers, request)
            found.extend(page.servers)
            if not (token := page.next_page_token):
                break
        return found

    async def set_draining(self, server_id: int, *, draining: bool) -> None:
        """Take a host out of service, or back into it."""
        if draining:
            await self._call(self._api.DrainServer, servers_pb2.DrainServerRequest(server_id=server_id))
        else:
            await self._call(self._api.UndrainServer, servers_pb2.UndrainServerRequest(server_id=server_id))

    async def games(self) -> list[games_pb2.Game]:
        """Return every game by id."""
        found: list[games_pb2.Game] = []
        token = ""
        while len(found) < MAX_ROWS:
            request = games_pb2.ListGamesRequest(page_size=PAGE_SIZE, page_token=token)
            page = await self._call(self._api.ListGames, request)
            found.extend(page.games)
            if not (token := page.next_page_token):
                break
        return found

    async def configs(self) -> list[game_configs_pb2.GameConfig]:
        """Return the configs of all games by id."""
        found: list[game_configs_pb2.GameConfig] = []
        token = ""
        while len(found) < MAX_ROWS:
            request = game_configs_pb2.ListGameConfigsRequest(page_size=PAGE_SIZE, page_token=token)
            page = await self._call(self._api.ListGameConfigs, request)
            found.extend(page.configs)
            if not (token := page.next_page_token):
                break
        return found

    async def deployments(self) -> list[server_game_configs_pb2.ServerGameConfig]:
        """Return the deployments of all hosts by id."""
        found: list[server_game_configs_pb2.ServerGameConfig] = []
        token = ""
        while len(found) < MAX_ROWS:
            request = server_game_configs_pb2.ListServerGameConfigsRequest(page_size=PAGE_SIZE, page_token=token)
            page = await self._call(self._api.ListServerGameConfigs, request)
            found.extend(page.configs)
            if not (token := page.next_page_token):
                break
        return found

    async def volumes(self, config_id: int) -> list[volumes_pb2.GameConfigVolume]:
        """Return the volumes of a config."""
        request = volumes_pb2.ListGameConfigVolumesRequest(config_id=config_id)
        return list((await self._call(self._api.ListGameConfigVolumes, request)).volumes)

    async def live_sessions(self) -> list[sessions_pb2.Session]:
        """Return every session that is pending, starting, running or stopping, the newest first."""
        found: list[sessions_pb2.Session] = []
        token = ""
        while len(found) < MAX_ROWS:
            request = sessions_pb2.ListSessionsRequest(page_size=PAGE_SIZE, page_token=token, live_only=True)
            page = await self._call(self._api.ListSessions, request)
            found.extend(page.sessions)
            if not (token := page.next_page_token):
                break
        return found

    async def crash(self, session_id: int) -> sessions_pb2.CrashRecord:
        """Return what is kept about a crash, or raise NotFound."""
        request = sessions_pb2.GetSessionCrashRecordRequest(session_id=session_id)
        return (await self._call(self._api.GetSessionCrashRecord, request)).record

    async def stats(self, session_id: int, *, since: int, until: int, step_s: int) -> list[stats_pb2.SessionStatsPoint]:
        """Return what a session's game used between two times in Unix seconds, or raise NotFound."""
        request = stats_pb2.GetSessionStatsRequest(
            session_id=session_id, since=since, until=until, resolution_seconds=step_s
        )
        return list((await self._call(self._api.GetSessionStats, request)).points)

    async def sessions(
        self,
        *,
        statuses: Sequence[str] = (),
        live_only: bool = False,
        server_id: int = 0,
        deployment_id: int = 0,
        page_size: int = 50,
        page_token: str = "",
    ) -> sessions_pb2.ListSessionsResponse:
        """Return one page of sessions, the newest first; filters left empty do not filter."""
        request = sessions_pb2.ListSessionsRequest(
            status_filter=statuses,
            live_only=live_only,
            server_id=server_id,
            server_game_config_id=deployment_id,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._call(self._api.ListSessions, request)

    async def session(self, session_id: int) -> sessions_pb2.Session:
        """Return one session, or raise NotFound."""
        request = sessions_pb2.GetSessionRequest(session_id=session_id)
        return (await self._call(self._api.GetSession, request)).session

    async def start(self, deployment_id: int, parameters: Mapping[str, str], *, force: bool) -> sessions_pb2.Session:
        """Start a deployment; returns the pending session. Conflict: one is live already, or the host is offline."""
        request = sessions_pb2.StartSessionRequest(
            server_game_config_id=deployment_id, parameters=parameters, force=force
        )
        return (await self._call(self._api.StartSession, request)).session

    async def stop(self, session_id: int, *, force: bool) -> sessions_pb2.Session:
        """Stop a session: in good order, or at once with `force`."""
        request = sessions_pb2.StopSessionRequest(session_id=session_id, force=force)
        return (await self._call(self._api.StopSession, request)).session

    async def send_input(self, session_id: int, line: str) -> None:
        """Type one line into the game's console; the newline is added here."""
        request = sessions_pb2.SendInputRequest(session_id=session_id, input=f"{line}\n".encode())
        await self._call(self._api.SendInput, request)

    async def actions(self, session_id: int) -> list[actions_pb2.ActionDefinition]:
        """Return what a session offers now, with its inputs."""
        request = actions_pb2.GetSessionActionsRequest(session_id=session_id)
        return list((await self._call(self._api.GetSessionActions, request)).actions)

    async def executions(self, session_id: int, limit: int) -> list[actions_pb2.ActionExecution]:
        """Return which actions were run on a session, the newest first."""
        request = actions_pb2.ListActionExecutionsRequest(session_id=session_id, limit=limit)
        return list((await self._call(self._api.ListActionExecutions, request)).executions)

    async def execute(
        self, session_id: int, action_id: int, values: Mapping[str, str]
    ) -> actions_pb2.ExecuteActionResponse:
        """Run an action; the answer says whether its command was written, or why not."""
        request = actions_pb2.ExecuteActionRequest(session_id=session_id, action_id=action_id, input_values=values)
        return await self._call(self._api.ExecuteAction, request)

    @contextlib.asynccontextmanager
    async def log(self, session_id: int, after: int) -> AsyncIterator[AsyncGenerator[logs_pb2.LogMessage, None]]:
        """Open a session's log after a sequence number: what is kept, then what comes, until the session ends."""
        request = logs_pb2.StreamSessionLogsRequest(session_id=session_id, after_sequence_number=after)
        lines = client.stream(self._logs.StreamSessionLogs, request, timeout_s=MAX_FOLLOWING_S, token=self._token)
        with _in_plain_words():
            async with contextlib.aclosing(lines):
                yield lines


@contextlib.contextmanager
def _in_plain_words() -> Iterator[None]:
    """Say "unreachable" once and plainly: the transport's own words are long and name inner addresses."""
    try:
        yield
    except Unavailable as error:
        if _TRANSPORT_WORDS in str(error):
            raise Unavailable("the API cannot be reached") from error
        raise
