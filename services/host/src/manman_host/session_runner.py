"""One session on this host, from the accepted command to the confirmed end.

    prepare (session_start) -> follow the wrapper -> collect the lines -> report the end -> remove what was made

The wrapper is the witness: what it says is reported. While it is away nothing is decided; it is restarted on the same
folder and asked again. A cancelled runner leaves everything running: a later life of the host goes on from the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from manman import logs, tracing
from manman.bus.connection import Backoff
from manman.domain.readiness import READY
from manman.domain.sessions import HUNG
from manman.errors import Conflict, ManManError, TimedOut, Unavailable
from manman.messages.health import RECOVERING, SessionInventoryItem
from manman.messages.status import SessionReported
from manman.rpc.errors import RemoteFailure
from manman_host import session_remains
from manman_host.game_watch import GameWatch
from manman_host.last_lines import last_lines
from manman_host.session_start import Parts, Preparation, StartFailed, StoppedMeanwhile
from manman_host.stop_wish import StopWish
from manman_host.wrapper_client import WrapperClient
from manman_host.wrapper_revival import WrapperRevival

if TYPE_CHECKING:
    from manman.v1 import wrapper_control_pb2 as pb
    from manman_host.container_spec import SessionPlan
    from manman_host.log_shipper import LogShipper
    from manman_host.session_folder import Plan, SessionFolder

ENDED = frozenset({"stopped", "crashed"})
DRAIN_TIMEOUT_S = 5.0
LAST_DRAIN_TIMEOUT_S = 30.0
RETRY_S = 0.5
MAX_WISHES = 16

log = structlog.get_logger(__name__)


class SessionRunner:
    """Runs one session. `accepted` is set when a restart of the host would find it, `finished` at the very end."""

    def __init__(
        self,
        accepted: Plan,
        plan: SessionPlan,
        *,
        parts: Parts,
        folder: SessionFolder,
        shipper: LogShipper,
        recovered: bool = False,
    ) -> None:
        """Nothing happens before `run`. `recovered`: its containers were found, not made by this life."""
        self.accepted_plan = accepted
        self.command = accepted.command
        self.session_id = self.command.session_id
        self.accepted = asyncio.Event()
        self.finished = asyncio.Event()
        self.last_report = SessionReported(session_id=self.session_id, status="starting", sgc_id=self.command.sgc_id)
        self._parts = parts
        self._plan = plan
        self._folder = folder
        self._shipper = shipper
        self._recovered = recovered
        self._stop_wanted = asyncio.Event()
        self._wishes: asyncio.Queue[StopWish] = asyncio.Queue(MAX_WISHES)
        self._wish: StopWish | None = None
        self._unkept: list[StopWish] = []
        self._end_is_told = False
        self._hangs = folder.hang()
        self._container_id = ""
        self._container_known = asyncio.Event()
        self._over = asyncio.Event()
        self._wrapper = WrapperClient(folder.socket, self.session_id, accepted.wrapper_token)
        self._preparation = Preparation(
            parts,
            self.command,
            plan,
            folder,
            accepted.wrapper_token,
            self._wrapper,
            self._stop_wanted,
            self._phase,
            shipper.say,
        )
        self._revival = WrapperRevival(parts, accepted, folder, self._wrapper, self._preparation.wrapper_spec)
        self._runs = asyncio.Event()
        self.watch = GameWatch(
            parts, self.command, self._wrapper, folder, ready=self._is_ready, hangs=self._end_for_hanging
        )
        if recovered:
            self.accepted.set()

    @property
    def is_over(self) -> bool:
        """Whether the game has ended, though it may not be cleaned up."""
        return self._over.is_set()

    @property
    def is_unwanted(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop_wanted.is_set()

    def inherit(self, failed: SessionRunner) -> None:
        """Take over what was asked of a runner that failed."""
        if failed._wish is not None:
            self.stop(failed._wish)
        self._unkept += failed._unkept

    def inventory_item(self) -> SessionInventoryItem | None:
        """Return the session as the control plane knows it from us; None for a new one before its first such report.

        One that was found is listed from the start: left out, it would be called crashed while it plays.
        """
        status = self._parts.announcer.known_status(self.session_id) or (RECOVERING if self._recovered else "")
        if not status:
            return None
        return SessionInventoryItem(
            session_id=self.session_id,
            status=status,
            sgc_id=self.command.sgc_id,
            container_id=self.last_report.container_id,
            started_at=self.last_report.started_at,
            phase=self.last_report.phase if status == "running" else "",
        )

    def stop(self, wish: StopWish) -> None:
        """Ask for the end; a later kill overtakes an earlier stop."""
        self._stop_wanted.set()
        self._unkept.append(wish)
        if self._wish is None or wish.kill:
            self._wish = wish
        if not self._wishes.full():
            self._wishes.put_nowait(wish)

    def keep_wishes(self, *, kills: bool) -> None:
        """Tell whoever asked for the end that it will come without us, too; `kills`: that this holds for kills."""
        for wish in self._unkept:
            if kills or not wish.kill:
                wish.kept.set()
        self._unkept = [wish for wish in self._unkept if not wish.kept.is_set()]

    def report_again(self) -> None:
        """Repeat the last report: somebody asked who does not know it."""
        self._parts.announcer.session(self.last_report)

    async def send_input(self, data: bytes) -> None:
        """Write to the game's stdin; raises `Conflict` unless it runs.

        It is tried once: what may have been typed must not be typed again.
        """
        if self.last_report.status != "running":
            raise Conflict(f"session {self.session_id} is {self.last_report.status}, it takes no input")
        try:
            await self._wrapper.send_input(data)
        except (Unavailable, TimedOut) as error:
            raise Conflict(
                f"nobody knows whether this input arrived, look before you send it again: {error}"
            ) from error

    async def run(self) -> None:
        """Run the session to its end."""
        with logs.bind(session_id=self.session_id, sgc_id=self.command.sgc_id):
            async with self._wrapper, asyncio.TaskGroup() as group:
                shipping = group.create_task(self._shipper.publish())
                lines = group.create_task(self._ship_lines())
                watching = group.create_task(self._watch_game())
                try:
                    ending = None if self._recovered else await self._prepare()
                    if ending is None:
                        ending = await self._follow()
                    self._over.set()
                    watching.cancel()
                    with tracing.resume(self._trace_of_end()):
                        await self._conclude(ending, lines)
                    self.finished.set()
                    self.accepted.set()
                finally:
                    watching.cancel()
                    lines.cancel()
                    shipping.cancel()

    async def _prepare(self) -> SessionReported | None:
        """Return None with a running game, or the report of why there is none."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._repeat_starting())
            try:
                self._phase("accepted", 0)
                await asyncio.to_thread(self._folder.create, self.accepted_plan)
                async with self._preparation.turn():
                    await self._preparation.make_wrapper()
                    self.accepted.set()
                    await self._preparation.start_game()
            except StartFailed as failure:
                log.warning("start_failed", reason=failure.reason, message=failure.message)
                return self._report("crashed", reason=failure.reason, message=failure.message)
            except StoppedMeanwhile:
                return self._report("stopped", reason="stopped", message="stopped before the game ran")
            finally:
                beating.cancel()
        return None

    async def _follow(self) -> SessionReported:
        """Follow the wrapper until it tells the end; revive it when it is away."""
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._serve_wishes(group))
            backoff = Backoff(longest_s=10.0)
            while True:
                try:
                    async with contextlib.aclosing(self._wrapper.watch()) as changes:
                        async for change in changes:
                            backoff.reset()
                            await self._seen(change.status)
                            if change.status.status in ENDED:
                                self._over.set()
                                stopping.cancel()
                                return await self._ended(change.status)
                except ManManError as error:
                    log.warning("wrapper_away", reason=str(error))
                except StartFailed as failure:
                    self._over.set()
                    stopping.cancel()
                    return self._report("crashed", reason=failure.reason, message=failure.message)
                await self._revival.revive()
                await backoff.pause()

    async def _seen(self, status: pb.GetStatusResponse) -> None:
        """Act on what the wrapper sees, short of the end."""
        if status.container_id:
            self._container_id = status.container_id
            self._container_known.set()
        if status.status == "pending" and not self._stop_wanted.is_set():
            self._announce(self._report("starting", phase="start", recovered=self._recovered))
            with contextlib.suppress(StoppedMeanwhile):
                await self._preparation.start_game()
        elif status.status == "running" and self.last_report.status not in {"running", "stopping"}:
            self._announce(
                self._report(
                    "running",
                    image_digest=status.image_digest,
                    started_at=_moment(status.started_at),
                    recovered=self._recovered,
                )
            )
            self._runs.set()
        elif status.status == "stopping":
            if self.last_report.status != "stopping":
                self._announce(self._report("stopping"))
            if not self._stop_wanted.is_set():
                self.stop(StopWish())  # whoever asked for it may have died with an earlier life of this host
            self.keep_wishes(kills=False)

    async def _watch_game(self) -> None:
        await self._runs.wait()
        if self._hangs:  # an earlier life of this host did not get to ending it
            self.stop(StopWish())
        else:
            await self.watch.run()

    def _is_ready(self) -> None:
        if self.last_report.status == "running":
            self._announce(self._report("running", phase=READY))

    def _end_for_hanging(self, silent_s: float) -> None:
        """Stop a game that does not answer any more, unless somebody wants it to end anyway."""
        if not self._stop_wanted.is_set():
            self._hangs = f"the game did not answer for {silent_s:.0f} s"
            self._folder.note_hang(self._hangs)
            log.warning("hangs", silent_s=round(silent_s))
            self.stop(StopWish())

    async def _ship_lines(self) -> None:
        await self._container_known.wait()
        await self._shipper.follow(self._wrapper, self._container_id, fresh=not self._recovered)

    async def _serve_wishes(self, group: asyncio.TaskGroup) -> None:
        """Carry out every wish to stop, a kill beside a stop that still waits for the game."""
        while True:
            wish = await self._wishes.get()
            with tracing.resume(wish.trace):
                group.create_task(self._end_game(wish))

    async def _end_game(self, wish: StopWish) -> None:
        if self.last_report.status != "stopping":
            self._announce(self._report("stopping", reason=HUNG if self._hangs else "", message=self._hangs))
        while not self._over.is_set():
            try:
                await self._ask_to_end(wish)
            except Conflict as error:
                log.error("stop_failed", reason=str(error))  # noqa: TRY400 - the text says it all
                self._announce(self._report("running", reason="stop_failed", message=str(error)))
                self.keep_wishes(kills=True)
                return
            except (ManManError, RemoteFailure) as error:
                log.warning("stop_waits", reason=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _ask_to_end(self, wish: StopWish) -> None:
        if (await self._wrapper.status()).status == "pending" and await self._game_runs():
            await self._wrapper.start(self._plan.game, self.command.sgc_id)  # it lost its memory: show it its game
        if wish.kill:
            await self._wrapper.kill()
            return
        await self._wrapper.stop(
            command=wish.command or self.command.stop_command,
            grace_s=wish.grace_s or self._plan.stop_grace_s,
            stop_signal=self.command.stop_signal,
        )

    async def _game_runs(self) -> bool:
        found = await session_remains.find_containers(self._parts, self.session_id)
        return any(one.kind == "game" and one.status == "running" for one in found)

    async def _collect(self, lines: asyncio.Task[None], message: str, timeout_s: float) -> bool:
        """Wait for the last lines and add one that says how it ended; False when the broker has not all of them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if self._container_known.is_set():
                    await asyncio.wait([lines])
                if not self._end_is_told:
                    self._end_is_told = True
                    await self._shipper.say(f"[manman] {message}")
                await self._shipper.drained()
                return True
        return False

    async def _ended(self, status: pb.GetStatusResponse) -> SessionReported:
        crashed = status.status == "crashed" or bool(self._hangs)
        by_itself = not crashed and status.reason == "exited" and status.exit_code == 0
        return self._report(
            "crashed" if crashed else status.status,
            exit_code=status.exit_code if status.started_at and status.exit_code >= 0 else None,
            reason=HUNG if self._hangs else status.reason,
            message=f"{self._hangs}; then: {status.message}" if self._hangs else status.message,
            final_status="completed" if by_itself else "",
            started_at=_moment(status.started_at),
            recovered=self._recovered and self.last_report.status == "starting",
            occurred_at=_moment(status.ended_at),
            signal=status.signal,
            oom_killed=status.oom_killed,
            last_lines=await last_lines(self._wrapper, status.last_seq) if crashed else [],
        )

    async def _conclude(self, ending: SessionReported, lines: asyncio.Task[None]) -> None:
        """Report the end, wait until that is known, then remove what was made for this session.

        While the broker is away lines stay where they are, in the wrapper: they are fetched when it is back.
        """
        complete = await self._collect(lines, ending.message, DRAIN_TIMEOUT_S)
        if ending.final_status == "completed" and self.last_report.status != "stopping":
            self._announce(self._report("stopping"))
        await self._parts.announcer.confirmed(self._announce(ending))
        if not complete and not await self._collect(lines, ending.message, LAST_DRAIN_TIMEOUT_S):
            log.warning("lines_given_up")
        await session_remains.remove(self._parts, self.session_id, self._plan.network, self._folder)
        self._parts.announcer.forget(self.session_id)

    def _trace_of_end(self) -> str | None:
        """Return the trace of who asked for the end, or of a start that failed; an end by itself begins one."""
        if self._wish is not None:
            return self._wish.trace
        return None if self._runs.is_set() else tracing.current()

    async def _repeat_starting(self) -> None:
        while True:
            await asyncio.sleep(self._parts.settings.starting_report_seconds)
            self._parts.announcer.session(self.last_report)

    def _phase(self, name: str, percent: int) -> None:
        self._announce(self._report("starting", phase=name, progress=percent))

    def _report(self, status: str, **facts: Any) -> SessionReported:  # noqa: ANN401 - the fields of a report
        facts.setdefault("started_at", self.last_report.started_at)
        return SessionReported(
            session_id=self.session_id,
            sgc_id=self.command.sgc_id,
            status=status,
            container_id=self._container_id,
            **facts,
        )

    def _announce(self, report: SessionReported) -> int:
        self.last_report = report
        return self._parts.announcer.session(report)


def _moment(millis: int) -> datetime | None:
    return datetime.fromtimestamp(millis / 1000, UTC) if millis else None
