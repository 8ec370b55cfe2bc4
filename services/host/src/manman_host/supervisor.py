"""Gives every command to the session it is about, and every session its own runner.

One runner per session; runners of one deployment follow each other, all others run side by side. A start is
acknowledged when a restarted host would find it again (its labels exist) or when it is over and the broker has the
report; a stop when the wrapper has written it down or the session is over; input when it is handed over. A command
for a session that this host knows, or that has ended, is answered with what is known.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
import structlog

from manman import clock, tracing
from manman.errors import Invalid, NotFound, Problem
from manman.messages import routing
from manman.messages.codec import decode
from manman.messages.commands import KillSession, SendInput, StartSession, StopSession
from manman.messages.status import SessionReported
from manman_host.container_spec import plan_session
from manman_host.log_shipper import LogShipper
from manman_host.session_folder import Plan
from manman_host.session_runner import SessionRunner
from manman_host.stop_wish import StopWish

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from manman.bus.connection import Connection
    from manman.bus.delivery import Delivery
    from manman.bus.publisher import Publisher
    from manman.messages.health import SessionInventoryItem
    from manman_host.session_start import Parts

MAX_REMEMBERED = 1000
PLAYING = frozenset({"running", "stopping"})
RETRY_S = 5.0
TURN_POLL_S = 0.5
MAX_TURN_WAIT_S = 120.0
"""How long a start without a deadline waits for the session before it."""

log = structlog.get_logger(__name__)


class Supervisor:
    """All sessions of this host. An async context manager: runners live inside the block, games outlive it."""

    def __init__(self, parts: Parts, connection: Connection, publisher: Publisher) -> None:
        """Start with no session."""
        self._parts = parts
        self._connection = connection
        self._publisher = publisher
        self._runners: dict[int, SessionRunner] = {}
        self._ended: OrderedDict[int, SessionReported] = OrderedDict()
        self._inputs: OrderedDict[str, None] = OrderedDict()
        self._deployments: dict[int, asyncio.Lock] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Open the group that runners live in."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave every session as it is."""
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def session_ids(self) -> frozenset[int]:
        """The sessions that have a runner."""
        return frozenset(self._runners)

    def inventory(self) -> list[SessionInventoryItem]:
        """Return every session as the control plane knows it from us."""
        return [item for runner in self._runners.values() if (item := runner.inventory_item()) is not None]

    def playing(self) -> list[SessionRunner]:
        """Return the sessions whose game runs."""
        return [runner for runner in self._runners.values() if runner.last_report.status in PLAYING]

    async def handle(self, delivery: Delivery) -> None:
        """Handle one command; returning acknowledges it. Raises `Invalid` for what is no command of ours."""
        _, _, command = delivery.routing_key.partition(".session.")
        parent = tracing.parent_in(delivery.headers)
        with self._parts.tracer.span(f"process session.{command}", parent=parent, kind="consumer"):
            await self._obey(command, delivery)

    async def _obey(self, command: str, delivery: Delivery) -> None:
        match command:
            case "start":
                await self._start(decode(StartSession, delivery.body))
            case "stop":
                stop = decode(StopSession, delivery.body)
                await self._stop(stop.session_id, StopWish.from_command(stop))
            case "kill":
                await self._stop(
                    decode(KillSession, delivery.body).session_id, StopWish(kill=True, trace=tracing.current())
                )
            case "send_input":
                if not self._was_typed(delivery.message_id):
                    await self._send_input(decode(SendInput, delivery.body))
            case _:
                known = ", ".join(routing.COMMAND_NAMES)
                raise Invalid([Problem("routing_key", f"{delivery.routing_key} is none of {known}")])

    def adopt(self, session_id: int, accepted: Plan) -> None:
        """Go on with a session that an earlier life of this host started."""
        if session_id not in self._runners:
            self._launch(self._runner(accepted, recovered=True))

    async def _start(self, command: StartSession) -> None:
        known = self._runners.get(command.session_id)
        if known is not None:
            log.info("start_repeated", session_id=command.session_id)
            known.report_again()
            await known.accepted.wait()
            return
        if (ended := self._ended.get(command.session_id)) is not None:
            await self._tell(ended)
            return
        if await self._is_late(command):
            return
        accepted = Plan(command, secrets.token_urlsafe(32), self._parts.identity.server_id)
        try:
            runner = self._runner(accepted)
        except Invalid as error:
            await self._refuse(command, "invalid_command", str(error))
            return
        self._launch(runner)
        await runner.accepted.wait()

    async def _is_late(self, command: StartSession) -> bool:
        """Refuse a command whose deadline has passed; return whether that was so."""
        if not _is_past(command.deadline_at):
            return False
        await self._refuse(command, "expired", f"the deadline {command.deadline_at} passed before the start began")
        return True

    async def _refuse(
        self, command: StartSession, reason: str, message: str, *, status: str = "crashed"
    ) -> SessionReported:
        """Report that a session does not start, and return when the broker has that."""
        log.warning("start_refused", session_id=command.session_id, reason=reason, message=message)
        report = SessionReported(
            session_id=command.session_id, sgc_id=command.sgc_id, status=status, reason=reason, message=message
        )
        await self._tell(report)
        return report

    async def _tell(self, report: SessionReported) -> None:
        self._remember(report)
        await self._parts.announcer.confirmed(self._parts.announcer.session(report))

    async def _stop(self, session_id: int, wish: StopWish) -> None:
        runner = self._runners.get(session_id)
        if runner is not None:
            if runner.is_over:
                runner.report_again()
            runner.stop(wish)
            await wish.kept.wait()
            return
        report = self._ended.get(session_id) or SessionReported(
            session_id=session_id, status="stopped", reason="not_found", message="this host has no such session"
        )
        await self._tell(report)

    def _was_typed(self, message_id: str | None) -> bool:
        """Tell whether this input came before, and remember it: a broker that was lost delivers again."""
        if message_id is None:
            return False
        if message_id in self._inputs:
            return True
        self._inputs[message_id] = None
        while len(self._inputs) > MAX_REMEMBERED:
            self._inputs.popitem(last=False)
        return False

    async def _send_input(self, command: SendInput) -> None:
        runner = self._runners.get(command.session_id)
        if runner is None:
            raise NotFound("running session on this host", command.session_id)
        await runner.send_input(command.input)

    def _runner(self, accepted: Plan, *, recovered: bool = False) -> SessionRunner:
        command, settings = accepted.command, self._parts.settings
        plan = plan_session(
            command,
            self._parts.identity,
            data_dir=self._parts.data.outer,
            now=clock.now(),
            tty=settings.game_tty,
            default_grace_s=settings.stop_grace_seconds,
            default_pids=settings.game_pids_limit,
        )
        folder = self._parts.data.session(command.session_id)
        shipper = LogShipper(self._connection, self._publisher, command.session_id, folder)
        return SessionRunner(accepted, plan, parts=self._parts, folder=folder, shipper=shipper, recovered=recovered)

    def _launch(self, runner: SessionRunner) -> None:
        self._runners[runner.session_id] = runner
        task = self._tasks.create_task(self._live(runner), name=f"session-{runner.session_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _live(self, runner: SessionRunner) -> None:
        """Run a session after those of its deployment that came before, again if our own code failed."""
        sgc_id = runner.command.sgc_id
        if runner.command.force and not runner.accepted.is_set():
            self._stop_others(runner)
        turn = self._deployments.setdefault(sgc_id, asyncio.Lock())
        if await self._take_turn(runner, turn):
            try:
                while not await self._run_once(runner):
                    failed, runner = runner, self._runner(runner.accepted_plan, recovered=True)
                    runner.inherit(failed)
                    self._runners[runner.session_id] = runner
                    await asyncio.sleep(RETRY_S)
            finally:
                turn.release()
            self._remember(runner.last_report)
        runner.accepted.set()
        runner.finished.set()
        runner.keep_wishes(kills=True)
        del self._runners[runner.session_id]
        if not any(other.command.sgc_id == sgc_id for other in self._runners.values()):
            del self._deployments[sgc_id]

    async def _take_turn(self, runner: SessionRunner, turn: asyncio.Lock) -> bool:
        """Wait for the end of the deployment's session before this one; False when this one is over before that.

        A stop, the deadline and our own patience end the waiting of a new session.
        """
        patience_ends = time.monotonic() + MAX_TURN_WAIT_S
        while not await _acquired(turn, TURN_POLL_S):
            if runner.accepted.is_set():
                continue
            if runner.is_unwanted:
                await self._refuse(runner.command, "stopped", "stopped before the game ran", status="stopped")
                return False
            if _is_past(runner.command.deadline_at) or time.monotonic() > patience_ends:
                advice = "another session of this deployment still runs on the host: stop it first"
                await self._refuse(runner.command, "deployment_busy", advice)
                return False
        if not runner.accepted.is_set() and await self._is_late(runner.command):
            turn.release()
            return False
        return True

    async def _run_once(self, runner: SessionRunner) -> bool:
        """Return False if the session must be taken up again."""
        try:
            await runner.run()
        except Exception as error:
            log.exception("runner_failed", session_id=runner.session_id)
            if runner.accepted.is_set():
                return False
            text = f"the host failed to start this session: {error!r}"
            runner.last_report = await self._refuse(runner.command, "host_error", text)
        return True

    def _stop_others(self, runner: SessionRunner) -> None:
        for other in self._runners.values():
            if other is not runner and other.command.sgc_id == runner.command.sgc_id:
                log.info("stopped_by_force", session_id=other.session_id, by=runner.session_id)
                other.stop(StopWish(kill=True, trace=tracing.current()))

    def _remember(self, report: SessionReported) -> None:
        self._ended[report.session_id] = msgspec.structs.replace(report, last_lines=[])  # known by now, and big
        while len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)


async def _acquired(lock: asyncio.Lock, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await lock.acquire()
    except TimeoutError:
        return False


def _is_past(deadline: datetime | None) -> bool:
    return deadline is not None and clock.now() > deadline
