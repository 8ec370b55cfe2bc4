"""The RPC that streams a session's log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manman.v1 import logs_pb2 as pb
from manman.v1.log_processor_pb2_grpc import LogProcessorServicer
from manman_api.logs import follow_log
from manman_api.rpc.parts import Servicer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class LogProcessor(Servicer, LogProcessorServicer):
    """Every RPC of `manman.v1.LogProcessor`."""

    async def StreamSessionLogs(
        self, request: pb.StreamSessionLogsRequest, context: object
    ) -> AsyncIterator[pb.LogMessage]:
        """Stream lines one by one."""
        lines = follow_log(
            session_id=request.session_id,
            after_sequence_number=request.after_sequence_number,
            idle_s=self._parts.log_idle_s,
            uow=self._parts.uow,
            broker=self._parts.broker,
        )
        async with contextlib.aclosing(lines):
            async for line in lines:
                yield pb.LogMessage(
                    session_id=request.session_id,
                    timestamp=line.timestamp_ms,
                    source=line.source,
                    message=line.text,
                    sequence_number=line.sequence_number,
                )
