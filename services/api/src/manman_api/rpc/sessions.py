"""The RPCs about sessions."""

from __future__ import annotations

from manman.errors import Invalid, Problem
from manman.rpc.chain import current_attempt, current_subject
from manman.v1 import sessions_pb2 as pb
from manman.v1 import stats_pb2
from manman_api import paging
from manman_api.handlers import sessions
from manman_api.rpc import present, unpack
from manman_api.rpc.parts import Servicer


class SessionsRpc(Servicer):
    """Sessions: read, start, stop, talk to."""

    async def ListSessions(self, request: pb.ListSessionsRequest, context: object) -> pb.ListSessionsResponse:
        """Answer with a page of sessions, newest first."""
        runs, token = await sessions.list_sessions(
            deployment_id=request.server_game_config_id,
            server_id=request.server_id,
            statuses=request.status_filter,
            started_after=unpack.moment(request.started_after),
            started_before=unpack.moment(request.started_before),
            live_only=request.live_only,
            page=paging.read(request.page_size, request.page_token),
            uow=self._parts.uow,
        )
        return present.sessions(runs, token)

    async def GetSession(self, request: pb.GetSessionRequest, context: object) -> pb.GetSessionResponse:
        """Answer with one session."""
        run = await sessions.get_session(session_id=request.session_id, uow=self._parts.uow)
        return pb.GetSessionResponse(session=present.session(run))

    async def GetSessionCrashRecord(
        self, request: pb.GetSessionCrashRecordRequest, context: object
    ) -> pb.GetSessionCrashRecordResponse:
        """Answer with what is kept about a crash."""
        crash = await sessions.get_crash(session_id=request.session_id, uow=self._parts.uow)
        return pb.GetSessionCrashRecordResponse(record=present.crash(crash))

    async def GetSessionStats(
        self, request: stats_pb2.GetSessionStatsRequest, context: object
    ) -> stats_pb2.GetSessionStatsResponse:
        """Answer with what a session's game used."""
        window = unpack.window(request, self._parts.now())
        points = await sessions.get_stats(session_id=request.session_id, window=window, uow=self._parts.uow)
        return present.session_stats(points, window)

    async def StartSession(self, request: pb.StartSessionRequest, context: object) -> pb.StartSessionResponse:
        """Record a session and have it started."""
        if request.restore_from_backup_id:
            text = "this version cannot restore a backup on start; leave it 0"
            raise Invalid([Problem("restore_from_backup_id", text)])
        run = await sessions.start_session(
            deployment_id=request.server_game_config_id,
            parameters=dict(request.parameters),
            force=request.force,
            timeout_s=self._parts.start_timeout_s,
            now=self._parts.now(),
            uow=self._parts.uow,
            attempt=current_attempt(),
        )
        return pb.StartSessionResponse(session=present.session(run))

    async def StopSession(self, request: pb.StopSessionRequest, context: object) -> pb.StopSessionResponse:
        """Record the wish to end a session and have it stopped."""
        run = await sessions.stop_session(
            session_id=request.session_id,
            force=request.force,
            requested_by=current_subject(),
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.StopSessionResponse(session=present.session(run))

    async def SendInput(self, request: pb.SendInputRequest, context: object) -> pb.SendInputResponse:
        """Write bytes to a game."""
        await sessions.send_input(
            session_id=request.session_id,
            data=request.input,
            timeout_s=self._parts.input_timeout_s,
            uow=self._parts.uow,
            requests=self._parts.requests,
        )
        return pb.SendInputResponse(success=True)
