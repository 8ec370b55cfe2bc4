"""Sessions: the wish to run, stop or talk to a game.

Starting and stopping record the wish and the command in one transaction and return; what becomes of it is told by the
session's status. Only input waits for the host.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain import parameters as rules
from manman.domain.hosts import HostStatus
from manman.domain.sessions import TERMINAL, Report, Status, Verdict, judge
from manman.errors import Conflict, Invalid, NotFound, Problem
from manman.messages import commands, routing
from manman.messages.codec import encode
from manman_api.handlers import configuration, start_command
from manman_api.handlers.configs import declared
from manman_api.handlers.configuration import Occasion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from manman.bus.requests import Requests
    from manman.db.models import DeploymentRestart, Server, Session
    from manman.db.runs import Run
    from manman.db.samples import Point
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.idempotency import Attempt
    from manman.domain.samples import Window
    from manman_api.paging import Page

MAX_INPUT_BYTES = 64 * 1024


class Crash(NamedTuple):
    """A session that crashed and its last lines, as they are stored."""

    row: Session
    lines: Sequence[dict[str, Any]]


async def list_sessions(
    *,
    deployment_id: int,
    server_id: int,
    statuses: Collection[str],
    started_after: datetime | None,
    started_before: datetime | None,
    live_only: bool,
    page: Page,
    uow: Uow,
) -> tuple[list[Run], str]:
    """Return a page of sessions, newest first, and the token of the next. Filters that are given must all hold."""
    found = await uow.reads.runs.list(
        sgc_id=deployment_id,
        server_id=server_id,
        statuses=statuses,
        started_after=started_after,
        started_before=started_before,
        live_only=live_only,
        limit=page.limit,
        offset=page.offset,
    )
    return page.cut(found)


async def get_session(*, session_id: int, uow: Uow) -> Run:
    """Return a session; raise `NotFound`."""
    return await uow.reads.runs.get(session_id)


async def get_crash(*, session_id: int, uow: Uow) -> Crash:
    """Return what is kept about a crash; raise `NotFound` for a session that did not crash."""
    async with uow() as tx:
        row = await tx.sessions.get(session_id)
        if row.status != Status.CRASHED:
            raise NotFound("crash of session", session_id)
        return Crash(row, await tx.sessions.crash_lines(session_id))


async def get_stats(*, session_id: int, window: Window, uow: Uow) -> Sequence[Point]:
    """Return what the session's game used; raise `NotFound`."""
    await uow.reads.runs.get(session_id)
    return await uow.reads.samples.of_session(session_id, window)


async def start_session(
    *,
    deployment_id: int,
    parameters: Mapping[str, str],
    force: bool,
    timeout_s: float,
    now: datetime,
    uow: Uow,
    attempt: Attempt | None = None,
) -> Run:
    """Record a new session and the command that starts it; the host must take it within `timeout_s`.

    With `force` a live session of the deployment is over as of now (`superseded`), and the host ends its game first.
    When an earlier attempt made a session, that one is returned as it is, and nothing is started.

    Raises:
        NotFound: there is no such deployment.
        Invalid: parameters are missing or malformed; every problem is named.
        Conflict: a session is live and `force` is not given, the host is not there, or a strategy cannot be rendered.

    """
    async with uow() as tx:
        earlier = await tx.idempotency_keys.made_before(attempt, now=now)
        if earlier is not None:
            return await tx.runs.get(earlier)
        session_id = await record_start(
            tx, deployment_id=deployment_id, parameters=parameters, force=force, timeout_s=timeout_s, now=now
        )
        await tx.idempotency_keys.made(attempt, session_id)
        run = await tx.runs.get(session_id)
        await tx.commit()
        return run


async def record_start(
    tx: Transaction,
    *,
    deployment_id: int,
    parameters: Mapping[str, str],
    force: bool,
    timeout_s: float,
    now: datetime,
    restart_of: DeploymentRestart | None = None,
) -> int:
    """Do in the caller's transaction what `start_session` does, and return the session's id; errors as there.

    `restart_of` says that it is started again; whatever was decided about its last session is done with.
    """
    deployment = await tx.deployments.lock(deployment_id)
    config = await tx.configs.get(deployment.game_config_id)
    values = rules.resolve(declared(config), [deployment.parameters, parameters]).values
    server = await tx.servers.get(deployment.server_id)
    _check_host(server)
    volumes = await tx.volumes.list(config_id=config.config_id)
    rendered = await configuration.final(
        tx,
        config=config,
        volumes=volumes,
        occasion=Occasion(
            deployment_id=deployment_id,
            deployment=deployment.parameters,
            env_overrides=deployment.env_overrides,
            session=parameters,
        ),
        values=values,
    )
    await _make_room(tx, deployment_id, force=force, now=now)
    await tx.restarts.forget(deployment_id)
    row = await tx.sessions.add(
        sgc_id=deployment_id,
        now=now,
        parameters=parameters,
        deadline_at=now + timedelta(seconds=timeout_s),
        restart_of_session_id=restart_of.session_id if restart_of else None,
        restart_attempt=restart_of.attempt if restart_of else 0,
    )
    command = start_command.build(
        session=row,
        deployment=deployment,
        config=config,
        volumes=volumes,
        rendered=rendered,
        values=values,
        force=force,
        now=now,
    )
    tx.outbox.add_command(
        routing_key=routing.command_start(deployment.server_id),
        body=command,
        session_id=row.session_id,
        expires_at=row.deadline_at,
    )
    return row.session_id


async def stop_session(*, session_id: int, force: bool, requested_by: str, now: datetime, uow: Uow) -> Run:
    """Record the wish to end a session and the command for it; one that has ended is returned as it is.

    Stopping again without `force` sends nothing new; with `force` it skips the rest of the grace. Of one that has ended
    the restart that waits is called off.
    """
    async with uow() as tx:
        row = await tx.sessions.lock(session_id)
        if row.status in TERMINAL:
            await tx.restarts.give_up(session_id=session_id, reason=f"called off by {requested_by or 'a stop'}")
            run = await tx.runs.get(session_id)
            await tx.commit()
            return run
        if row.status == Status.STOPPING and not force:
            return await tx.runs.get(session_id)
        row.stop_requested_at = row.stop_requested_at or now
        row.stop_requested_by = row.stop_requested_by or requested_by or None
        live = await tx.sessions.live_ids([row.sgc_id])
        other_live = live.get(row.sgc_id, session_id) != session_id
        judgement = judge(row, Report(status=Status.STOPPING), now, other_live=other_live)
        if judgement.verdict in (Verdict.GO, Verdict.RECOVER):
            await transitions.apply(tx, row, Change(status=judgement.status, reason="stop_requested"), now=now)
        run = await tx.runs.get(session_id)
        tx.outbox.add_command(
            routing_key=routing.command_stop(run.server_id),
            body=commands.StopSession(session_id=session_id, force=force, issued_at=now),
            session_id=session_id,
        )
        await tx.commit()
        return run


async def send_input(*, session_id: int, data: bytes, timeout_s: float, uow: Uow, requests: Requests) -> None:
    """Write bytes, unchanged, to a running game and return once its host says that they are written.

    Raises:
        Invalid: more than 64 KiB, or nothing.
        Conflict: the session is not running, or the host refused.
        Unavailable: the broker is away, or the host takes no commands.
        TimedOut: the host did not answer; the input may or may not have arrived.

    """
    if not 0 < len(data) <= MAX_INPUT_BYTES:
        raise Invalid([Problem("input", f"send 1 to {MAX_INPUT_BYTES} bytes, not {len(data)}")])
    run = await get_session(session_id=session_id, uow=uow)
    if run.status != Status.RUNNING:
        raise Conflict(f"session {session_id} is {run.status}; input needs a running one")
    await write_input(session_id=session_id, server_id=run.server_id, data=data, timeout_s=timeout_s, requests=requests)


async def write_input(*, session_id: int, server_id: int, data: bytes, timeout_s: float, requests: Requests) -> None:
    """Have a host write bytes to a game's console, and wait for its word; errors as `send_input`."""
    body = encode(commands.SendInput(session_id=session_id, input=data))
    reply = await requests.call(routing.command_send_input(server_id), body, timeout_s=timeout_s)
    if not reply.success:
        raise Conflict(f"the host refused the input: {reply.error}")


def _check_host(server: Server) -> None:
    """Refuse a start that nobody would hear."""
    if server.status != HostStatus.ONLINE:
        seen = f"was last seen at {server.last_seen:%Y-%m-%dT%H:%M:%SZ}" if server.last_seen else "was never seen"
        raise Conflict(f"server {server.server_id} ({server.name}) is offline and {seen}; start its host first")
    if server.draining:
        raise Conflict(
            f"server {server.server_id} ({server.name}) is draining and takes no new sessions; undrain it first"
        )
    if server.host_draining:
        raise Conflict(
            f"server {server.server_id} ({server.name}) takes no new sessions: its host is about to go away; "
            "wait until it is back"
        )


async def _make_room(tx: Transaction, deployment_id: int, *, force: bool, now: datetime) -> None:
    for live in await tx.sessions.lock_live_of(deployment_id):
        if not force:
            raise Conflict(
                f"deployment {deployment_id} already has the live session {live.session_id} ({live.status}); "
                "stop it first, or start with force"
            )
        live.stop_requested_at = live.stop_requested_at or now
        await transitions.apply(tx, live, Change(status=Status.STOPPED, reason="superseded"), now=now)
