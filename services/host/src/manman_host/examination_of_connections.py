"""The doctor's examination of what a host talks to: the broker, the API, and the API's clock beside ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from manman import clock
from manman.bus.connection import connect
from manman.errors import Invalid, ManManError, NotFound, PermissionDenied, TimedOut, Unauthenticated, Unavailable
from manman.health import Component
from manman.rpc.client import channel_to_api, probe
from manman.v1 import api_pb2_grpc, sessions_pb2
from manman_host.finding import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from datetime import datetime

    from manman_host.settings import Settings

BROKER_TIMEOUT_S = 12.0
MAX_SKEW_S, BAD_SKEW_S = 2.0, 20.0
"""Commands carry deadlines of about a minute, and reports the times at which things happened."""


async def broker(settings: Settings) -> list[Finding]:
    """Connect to the broker as a host does."""
    state = Component("broker")
    try:
        async with asyncio.timeout(BROKER_TIMEOUT_S), connect(settings, "host-doctor", component=state):
            return [Finding("broker", OK, "reachable, and it let us in")]
    except (TimeoutError, ManManError) as error:
        reason = state.reason or str(error)
        return [Finding("broker", FAIL, f"{reason}: check RABBITMQ_URL, and that this machine may reach its port")]


async def api(settings: Settings) -> list[Finding]:
    """Ask the API about a session, which a host may, and compare clocks."""
    try:
        async with channel_to_api(settings) as channel:
            sent_at = clock.now()
            probed = await probe(
                api_pb2_grpc.ManManAPIStub(channel).GetSession,
                sessions_pb2.GetSessionRequest(session_id=1),
                timeout_s=settings.api_timeout_seconds,
                token=settings.grpc_auth_token.get_secret_value(),
            )
            received_at = clock.now()
    except Invalid as error:
        return [Finding("API", FAIL, str(error))]
    if isinstance(probed.error, Unavailable | TimedOut):
        text = f"{settings.api_address} does not answer ({probed.error}): check API_ADDRESS, and that the API runs"
        return [Finding("API", FAIL, text)]
    return [
        Finding("API", OK, f"{settings.api_address} answers"),
        _token(probed.error),
        _skew(probed.server_time, sent_at, received_at),
    ]


def _token(error: Exception | None) -> Finding:
    if error is None or isinstance(error, NotFound):
        return Finding("API token", OK, "accepted")
    if isinstance(error, Unauthenticated):
        return Finding("API token", FAIL, f"refused ({error}): GRPC_AUTH_TOKEN must be an API token with the role host")
    if isinstance(error, PermissionDenied):
        return Finding("API token", FAIL, f"not enough ({error}): make a token with the role host for GRPC_AUTH_TOKEN")
    return Finding("API token", FAIL, f"the API failed: {error}")


def _skew(server_time: datetime | None, sent_at: datetime, received_at: datetime) -> Finding:
    """Judge how far the clocks are apart; the answer was made somewhere between sending and receiving."""
    if server_time is None:
        return Finding("clock", WARN, "the API did not tell its time: it is older than this host")
    ahead, behind = (sent_at - server_time).total_seconds(), (server_time - received_at).total_seconds()
    skew_s = max(ahead, behind, 0.0)
    if skew_s <= MAX_SKEW_S:
        return Finding("clock", OK, "right, compared with the API's")
    way = "ahead of" if ahead > behind else "behind"
    text = f"{skew_s:.0f} s {way} the API's: let both machines keep time by NTP"
    return Finding("clock", WARN if skew_s <= BAD_SKEW_S else FAIL, text)
