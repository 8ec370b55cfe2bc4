"""Samples: every so often this host looks at what its games and its machine use, for its heartbeats and its metrics.

Of a game it is the container that plays that counts, not its wrapper. Counters become rates here, where both looks and
the time between them are known. The engine is asked, and not the files of the kernel: those are out of sight of a host
that runs in a container. A game that cannot be looked at has no sample this time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from manman.domain.samples import per_second
from manman.errors import ManManError
from manman.messages.health import MAX_SAMPLES, HostSample, Samples, SessionSample
from manman.periodic import run_periodically
from manman_host import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from manman_host.container_usage import Usage
    from manman_host.docker_engine import DockerEngine
    from manman_host.machine import MachineUsage
    from manman_host.probes import Answer
    from manman_host.session_runner import SessionRunner

LOOKS_AT_ONCE = 16
"""An engine answers once a second, whoever asks, and each call holds a thread: a hundred games take seven seconds."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Look:
    """What a container had used at a time of the steady clock."""

    container_id: str
    at_s: float
    usage: Usage


class Sampler:
    """Samples every `interval_s` seconds, never when that is 0. `latest` is what was seen last."""

    def __init__(
        self,
        engine: DockerEngine,
        data_dir: Path,
        playing: Callable[[], Sequence[SessionRunner]],
        *,
        interval_s: float,
    ) -> None:
        """Look at the games of `playing`, and at the machine that `data_dir` is on."""
        self.latest: Samples | None = None
        self.deployments: dict[int, int] = {}
        """The deployment of each session in `latest`."""
        self._engine = engine
        self._data_dir = data_dir
        self._playing = playing
        self._interval_s = interval_s
        self._places = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._looks: dict[int, _Look] = {}
        self._machine: tuple[float, MachineUsage] | None = None
        self._is_taken = True

    async def run(self) -> None:
        """Sample for ever, the first time at once."""
        if self._interval_s:
            await run_periodically("samples", self._sample, self._interval_s)

    def take(self) -> Samples | None:
        """Return the latest samples, once."""
        if self._is_taken:
            return None
        self._is_taken = True
        return self.latest

    async def _sample(self, now: datetime) -> int:
        """Look at everything; return 0, for nothing was changed."""
        games = [runner for runner in self._playing() if runner.last_report.container_id][:MAX_SAMPLES]
        async with asyncio.TaskGroup() as group:
            sampled = [group.create_task(self._game(runner)) for runner in games]
            host = group.create_task(self._host())
        sessions = [sample for task in sampled if (sample := task.result()) is not None]
        self.deployments = {runner.session_id: runner.command.sgc_id for runner in games}
        self._looks = {key: look for key, look in self._looks.items() if key in self.deployments}
        self.latest = Samples(
            taken_at=now, interval_seconds=max(1, round(self._interval_s)), host=host.result(), sessions=sessions
        )
        self._is_taken = False
        return 0

    async def _game(self, runner: SessionRunner) -> SessionSample | None:
        container_id = runner.last_report.container_id
        async with self._places:
            try:
                usage, at_s = await self._engine.usage(container_id), time.monotonic()
                answer = await runner.watch.players()
            except ManManError as error:
                log.info("game_not_sampled", session_id=runner.session_id, reason=str(error))
                return None
        if usage is None:
            return None
        look = _Look(container_id, at_s, usage)
        before = self._looks.get(runner.session_id, look)
        self._looks[runner.session_id] = look
        return _session_sample(runner.session_id, before, look, answer)

    async def _host(self) -> HostSample:
        usage, at_s = await asyncio.to_thread(machine.look, self._data_dir), time.monotonic()
        before_s, before = self._machine or (at_s, usage)
        self._machine = at_s, usage
        return _host_sample(before, usage, at_s - before_s)


def _session_sample(session_id: int, before: _Look, look: _Look, answer: Answer) -> SessionSample:
    usage, known = look.usage, before.usage
    elapsed_s = look.at_s - before.at_s if before.container_id == look.container_id else 0.0
    return SessionSample(
        session_id=session_id,
        cpu_cores=per_second(known.cpu_s, usage.cpu_s, elapsed_s),
        memory_bytes=usage.memory_bytes,
        memory_limit_bytes=usage.memory_limit_bytes,
        received_bytes_per_second=per_second(known.received_bytes, usage.received_bytes, elapsed_s),
        sent_bytes_per_second=per_second(known.sent_bytes, usage.sent_bytes, elapsed_s),
        read_bytes_per_second=per_second(known.read_bytes, usage.read_bytes, elapsed_s),
        written_bytes_per_second=per_second(known.written_bytes, usage.written_bytes, elapsed_s),
        players=answer.players,
        players_max=answer.players_max,
    )


def _host_sample(known: MachineUsage, usage: MachineUsage, elapsed_s: float) -> HostSample:
    return HostSample(
        cpu_cores=per_second(known.cpu_s, usage.cpu_s, elapsed_s),
        cpu_count=usage.cpu_count,
        load=usage.load,
        memory_bytes=usage.memory_bytes,
        memory_total_bytes=usage.memory_total_bytes,
        disk_bytes=usage.disk_bytes,
        disk_total_bytes=usage.disk_total_bytes,
        received_bytes_per_second=per_second(known.received_bytes, usage.received_bytes, elapsed_s),
        sent_bytes_per_second=per_second(known.sent_bytes, usage.sent_bytes, elapsed_s),
    )
