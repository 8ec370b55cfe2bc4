"""One game container, from its creation to its exit: the engine is the truth, this object follows it.

The order of a start is: create, attach stdin, register for the exit, start. So no exit and no early input is missed,
and output cannot be missed because the engine keeps it. The container is never removed here: its host does that when it
has collected the lines.

Not here: gRPC (`servicer`), how a plan becomes a container (`container_request`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import msgspec
import structlog

from manman import clock
from manman.errors import Conflict, ManManError, Unavailable
from manman_wrapper.container import (
    CREATED,
    ENGINE_RETRY_S,
    NOT_FOUND,
    create_container,
    inspect,
    inspect_ended,
    inspect_patiently,
    millis,
    remove_container,
    send_signal,
    start_container,
    stop_signal_of,
    wait_for_exit,
)
from manman_wrapper.docker_http import DockerHttp, EngineAwayError, EngineError, Stdin
from manman_wrapper.exit_reason import NOT_KNOWN, explain_absence, explain_exit, explain_refused_start
from manman_wrapper.log_reader import Limits, LogReader
from manman_wrapper.state import CRASHED, ENDED, LIVE, PENDING, RUNNING, STARTING, STOPPING, State, StateFile

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from types import TracebackType

DRAIN_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 30.0
SAVE_INTERVAL_S = 2.0
INPUT_TIMEOUT_S = 5.0
MAX_SIGNAL_GRACE_S = 10.0

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")


class DockerGame:
    """The session's game. An async context manager: its tasks live inside the block and leave the game running."""

    def __init__(self, docker: DockerHttp, state_file: StateFile, limits: Limits) -> None:
        """Nothing is done before the block is entered."""
        self._docker = docker
        self._file = state_file
        self._state = state_file.load()
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Lock()
        self._input = asyncio.Lock()
        self._stdin: Stdin | None = None
        self._tasks = asyncio.TaskGroup()
        self._followers: list[asyncio.Task[Any]] = []
        self._operations: set[asyncio.Task[Any]] = set()
        self.output = LogReader(docker, limits, self._notify)

    async def __aenter__(self) -> Self:
        """Take up a game that was there before this wrapper."""
        await self._tasks.__aenter__()
        if self._state.container_id:
            self._run(self._resume(self._state.container_id))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following. The game goes on."""
        for task in (*self._followers, *self._operations):
            task.cancel()
        if self._stdin is not None:
            self._stdin.close()
        self._file.save(self._with_log_position(self._state))
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def state(self) -> State:
        """What is known now, without asking the engine."""
        return msgspec.structs.replace(self._state, last_seq=max(self._state.last_seq, self.output.tail.last_seq))

    async def changed(self) -> None:
        """Return at the next change of the state or of the output."""
        await self._wake.wait()

    async def look(self) -> State:
        """Return the state after comparing it with the engine: a container that vanished is a crash."""
        if self._state.container_id and self._state.status in LIVE:
            try:
                await inspect(self._docker, self._state.container_id)
            except EngineError as error:
                if error.status == NOT_FOUND:
                    self._vanish()
            except EngineAwayError as error:
                raise Unavailable(str(error)) from error
        return self.state

    async def start(self, name: str, request: Mapping[str, Any]) -> str:
        """Create and start the container, or take the one that this session already has; return its id.

        Goes on to its end when the caller leaves, and waits for an engine that is away. Raises `Conflict` with the
        reason when it cannot run; the same reason is in the state.
        """
        return await self._to_the_end(self._start(name, request))

    async def _start(self, name: str, request: Mapping[str, Any]) -> str:
        async with self._starting:
            while True:
                if self._state.status in LIVE - {STARTING} and self._state.container_id:
                    return self._state.container_id
                if self._state.status in ENDED:
                    raise Conflict(f"this session has ended ({self._state.reason}): {self._state.message}")
                try:
                    return await self._create_and_start(name, request)
                except EngineError as error:
                    reason, message = explain_refused_start(error.message)
                    await self._discard()
                    self._set(status=CRASHED, reason=reason, message=message, ended_at=_now_ms(), container_id="")
                    raise Conflict(message) from error
                except EngineAwayError as error:
                    log.warning("engine_away", error=str(error))
                    await asyncio.sleep(ENGINE_RETRY_S)

    async def _create_and_start(self, name: str, request: Mapping[str, Any]) -> str:
        """Do all that is not done yet: an earlier try may have ended anywhere, and its game may run."""
        self._let_go()
        container_id = await create_container(self._docker, name, request)
        self._set(status=STARTING, container_id=container_id)
        if (await inspect(self._docker, container_id))["State"]["Status"] != CREATED:
            await self._set_running(container_id)
            self._run(self._follow(container_id))
            return container_id
        self._stdin = await self._docker.attach_stdin(container_id)
        registered, started = asyncio.Event(), asyncio.Event()
        self._run(self._follow(container_id, registered=registered, started=started))
        await registered.wait()
        await start_container(self._docker, container_id)
        started.set()
        await self._set_running(container_id)
        return container_id

    async def _set_running(self, container_id: str) -> None:
        found = await inspect_patiently(self._docker, container_id)
        if self._state.status == STARTING:
            self._set(status=RUNNING, started_at=millis(found["State"]["StartedAt"]), image_digest=found["Image"])

    async def _resume(self, container_id: str) -> None:
        """Take up a container made earlier. One that was never started waits for the next `start`."""
        try:
            found = await inspect_patiently(self._docker, container_id)
        except EngineError:
            self._vanish()
            return
        if found["State"]["Status"] == CREATED:
            self._set(status=PENDING)
            return
        await self._set_running(container_id)
        await self._follow(container_id)

    async def _discard(self) -> None:
        """Remove a container that never ran."""
        self._let_go()
        if self._state.container_id:
            await remove_container(self._docker, self._state.container_id)

    def _let_go(self) -> None:
        """Stop following a container that was not started."""
        for task in self._followers:
            task.cancel()
        self._followers.clear()
        self._drop_stdin()

    async def send_input(self, data: bytes) -> None:
        """Write `data` to the game's stdin; raise `Conflict` when no game runs."""
        if self._state.status not in LIVE - {STARTING}:
            raise Conflict(f"the game is {self._state.status}, it takes no input")
        async with self._input:
            try:
                async with asyncio.timeout(INPUT_TIMEOUT_S):
                    await self._write(data)
            except TimeoutError as error:
                raise Conflict("the game does not read its input: part of it may arrive later") from error
            except (OSError, EngineAwayError, EngineError) as error:
                self._drop_stdin()
                raise Conflict(f"the game does not take input: {error}") from error

    async def _write(self, data: bytes) -> None:
        """Write, over a new connection if the engine dropped the old one meanwhile."""
        if self._stdin is None or not self._stdin.is_open:
            self._drop_stdin()
            self._stdin = await self._docker.attach_stdin(self._state.container_id)
        await self._stdin.write(data)

    def _drop_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
            self._stdin = None

    async def stop(self, *, command: str, grace_s: float, stop_signal: str) -> State:
        """End the game: command on stdin, then signal, then kill. `grace_s` is for the first two together.

        Goes on to its end when the caller leaves. Asked again meanwhile it waits for the first: a game is not told
        twice. Raises `Conflict` when the engine refuses the signal; the game is then as it was.
        """
        return await self._to_the_end(self._stop(command, grace_s, stop_signal))

    async def _stop(self, command: str, grace_s: float, stop_signal: str) -> State:
        async with self._stopping:
            if not await self._is_live():
                return await self._never_started()
            self._set(status=STOPPING, asked_to=self._state.asked_to or "stop")
            with self._as_it_was_on_conflict():
                await self._ask_to_end(command, grace_s, stop_signal)
            return await self._must_end()

    async def _ask_to_end(self, command: str, grace_s: float, stop_signal: str) -> None:
        for_signal = min(MAX_SIGNAL_GRACE_S, grace_s / 3) if command else grace_s
        if command:
            with contextlib.suppress(Conflict):
                await self.send_input(command.encode() + b"\n")
                await self._wait_for_end(grace_s - for_signal)
        if not self._ended.is_set():
            own = self._state.container_id
            await send_signal(self._docker, own, stop_signal or await stop_signal_of(self._docker, own))
            await self._wait_for_end(for_signal)
        if not self._ended.is_set():
            await send_signal(self._docker, self._state.container_id, "SIGKILL")

    async def _is_live(self) -> bool:
        async with self._starting:  # a signal that comes before the start would be lost
            return self._state.status in LIVE

    @contextlib.contextmanager
    def _as_it_was_on_conflict(self) -> Iterator[None]:
        try:
            yield
        except Conflict:
            if self._state.status == STOPPING:
                self._set(status=RUNNING, asked_to="")
            raise

    async def kill(self) -> State:
        """End the game at once, and see to it when the caller leaves."""
        return await self._to_the_end(self._kill())

    async def _kill(self) -> State:
        if not await self._is_live():
            return await self._never_started()
        self._set(status=STOPPING, asked_to="kill")
        with self._as_it_was_on_conflict():
            await send_signal(self._docker, self._state.container_id, "SIGKILL")
        return await self._must_end()

    async def _to_the_end(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Carry `work` out in our own task: a caller that hangs up must not leave a game half started or stopped."""

        async def settle() -> tuple[ResultT | None, ManManError | None]:
            try:
                return await work, None
            except ManManError as error:
                return None, error

        task = self._tasks.create_task(settle())
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        result, error = await asyncio.shield(task)
        if error is not None:
            raise error
        return cast("ResultT", result)

    async def _never_started(self) -> State:
        async with self._starting:
            if self._state.status == PENDING:
                self._set(status="stopped", reason="stopped", message="stopped before it started", ended_at=_now_ms())
            return self.state

    async def _must_end(self) -> State:
        await self._wait_for_end(KILL_TIMEOUT_S)
        if not self._ended.is_set():
            raise Unavailable(f"the engine did not end the game within {KILL_TIMEOUT_S:g} s")
        return self.state

    async def _wait_for_end(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()

    async def _follow(
        self, container_id: str, *, registered: asyncio.Event | None = None, started: asyncio.Event | None = None
    ) -> None:
        """Read the output and wait for the exit, until the exit is recorded.

        With the two events the container is about to be started: the first tells that the exit cannot be missed any
        more, the second that there is a log to read.
        """
        saver = self._run(self._save_positions())
        reader: asyncio.Task[None] | None = None
        try:
            tty = bool((await inspect_patiently(self._docker, container_id))["Config"]["Tty"])
            waiting = self._run(wait_for_exit(self._docker, container_id, registered))
            if started is not None:
                await started.wait()
            self._run(self.output.close_silent_seconds())
            reader = self._run(
                self.output.read(container_id, tty=tty, start=self._state.tail_from, last_seq=self._state.last_seq)
            )
            await waiting
            await asyncio.wait([reader], timeout=DRAIN_TIMEOUT_S)
            await self._record_exit(container_id)
        except EngineError as error:
            if error.status != NOT_FOUND:
                raise
            self._vanish()
        finally:
            saver.cancel()
            if registered is not None:
                registered.set()
            if reader is not None and not reader.done():
                reader.cancel()
            self.output.ended = True
            self._notify()

    async def _record_exit(self, container_id: str) -> None:
        if self._state.status in ENDED:
            self._ended.set()
            return
        found = await inspect_ended(self._docker, container_id, told_to=bool(self._state.asked_to))
        ending = explain_exit(found["ExitCode"], oom_killed=found["OOMKilled"], asked_to=self._state.asked_to)
        self._set(
            status=ending.status,
            reason=ending.reason,
            message=ending.message,
            signal=ending.signal,
            exit_code=found["ExitCode"],
            oom_killed=found["OOMKilled"],
            started_at=millis(found["StartedAt"]),
            ended_at=millis(found["FinishedAt"]) or _now_ms(),
        )
        self._ended.set()

    def _vanish(self) -> None:
        if self._state.status in LIVE:
            ending = explain_absence(asked_to=self._state.asked_to)
            self._set(
                status=ending.status,
                reason=ending.reason,
                message=ending.message,
                exit_code=NOT_KNOWN,
                ended_at=_now_ms(),
            )
        self._ended.set()
        self.output.ended = True
        self._notify()

    async def _save_positions(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            state = self._with_log_position(self._state)
            if state != self._state or self._file.is_behind:
                self._state = state
                self._file.save(state)

    def _with_log_position(self, state: State) -> State:
        position = self.output.tail_from or state.tail_from
        return msgspec.structs.replace(state, tail_from=position, last_seq=self.state.last_seq)

    def _set(self, **changes: object) -> None:
        self._state = self._with_log_position(msgspec.structs.replace(self._state, **changes))
        self._file.save(self._state)
        log.info("game_state", status=self._state.status, reason=self._state.reason or None)
        self._notify()

    def _notify(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    def _run(self, work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        task = self._tasks.create_task(work)
        self._followers = [*(other for other in self._followers if not other.done()), task]
        return task


def _now_ms() -> int:
    return int(clock.now().timestamp() * 1000)
