"""A list of 1,000 sessions, inside one process: what the api does for it, without a transport.

    python -m manman_devstack.bench.in_process

The API gives at most 100 rows a page, so this calls the handler itself with a larger page: read the rows, build the
message, then the bytes of the gRPC answer and the bytes of the REST answer. For each line on stdin it does so a few
times and writes one line of JSON: the processor time of this process for one list, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from manman import service
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.settings import DatabaseSettings
from manman_api.handlers import sessions
from manman_api.paging import Page
from manman_api.rest import replies
from manman_api.rpc import present

if TYPE_CHECKING:
    from collections.abc import Callable

    from manman.db.unit_of_work import Uow
    from manman.v1 import sessions_pb2

ROWS = 1000
TIMES = 10


async def main() -> None:
    """Measure once for each line."""
    async with connected(DatabaseSettings()) as engine:
        uow = UnitOfWork(engine)
        service.settle()
        for _ in sys.stdin:
            measured = {
                "grpc": await _cpu_s(uow, lambda message: message.SerializeToString()),
                "rest": await _cpu_s(uow, lambda message: replies.Answer(message, "id").body),
            }
            print(json.dumps(measured), flush=True)


async def _cpu_s(uow: Uow, write: Callable[[sessions_pb2.ListSessionsResponse], bytes]) -> float:
    used_s = []
    for _ in range(TIMES):
        before = time.process_time()
        runs, token = await sessions.list_sessions(
            deployment_id=0,
            server_id=0,
            statuses=(),
            started_after=None,
            started_before=None,
            live_only=False,
            page=Page(size=ROWS),
            uow=uow,
        )
        message = present.sessions(runs, token)
        write(message)
        used_s.append(time.process_time() - before)
        if len(message.sessions) != ROWS:
            raise RuntimeError(f"there are {len(message.sessions)} sessions, not {ROWS}")
    return statistics.median(used_s)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the api's
        runner.run(main())
