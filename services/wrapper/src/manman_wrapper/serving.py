"""The wrapper's gRPC server: the platform's own chain behind a unix socket and the session's token."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manman.rpc import server
from manman.rpc.access import authenticate_by_token
from manman.rpc.chain import Chain
from manman.rpc.services import Service
from manman.v1 import wrapper_control_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from manman_wrapper.servicer import WrapperControl

STOP_GRACE_S = 1.0
CALL_TIMEOUT_S = 600.0
"""For callers without a deadline: stopping a game may take its whole grace."""
SOCKET_MODE = 0o666
"""Who may connect is decided by the folder and by the token: host and wrapper may run as different users."""


@contextlib.asynccontextmanager
async def serve(servicer: WrapperControl, *, socket: Path, token: str) -> AsyncIterator[None]:
    """Serve on `socket` for the block; with an empty token everybody may call. An old socket file is replaced."""
    service = Service(wrapper_control_pb2.DESCRIPTOR.services_by_name["WrapperControl"], servicer)
    chain = Chain(authenticate_by_token(token), timeout_s=CALL_TIMEOUT_S)
    async with server.serve(
        [service],
        chain,
        address=f"unix:{socket}",
        socket_mode=SOCKET_MODE,
        with_reflection=False,
        grace_s=STOP_GRACE_S,
    ):
        yield
