"""How a process starts and ends: settings or a readable refusal, then run until told to stop, then leave in order.

A *main* is one coroutine made of context managers and a TaskGroup. SIGTERM and SIGINT cancel it; everything it
opened is closed in reverse order by leaving those blocks, and the process ends with 0. There is a limit to how long
leaving may take.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol, Self, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

EXIT_BAD_SETTINGS = 2
SHUTDOWN_TIMEOUT_S = 30.0
ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000
"""Python's own 700 are a few calls' worth: most of what a collection finds then is a call still being answered."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


class Readable(Protocol):
    """A class of settings."""

    @classmethod
    def from_environment(cls) -> Self | list[str]:
        """Read the environment; return the settings, or one line per bad variable."""


SettingsT = TypeVar("SettingsT", bound=Readable)


def read_settings(settings: type[SettingsT]) -> SettingsT:
    """Read `settings` from the environment, or print one line per bad variable and exit with status 2."""
    read = settings.from_environment()
    if not isinstance(read, list):
        return read
    sys.stderr.write("this service cannot start, its settings are wrong:\n")
    sys.stderr.writelines(f"  {line}\n" for line in read)
    sys.exit(EXIT_BAD_SETTINGS)


def run(
    main: Coroutine[object, object, object],
    *,
    shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> NoReturn:
    """Run `main` until it returns, fails or a signal comes; then exit with 0, 1 or 0.

    `loop_factory` makes another event loop than asyncio's own.

    Leaving takes at most `shutdown_timeout_s` after the signal; then the process ends the hard way, with 1, and the
    log names the tasks that hung.
    """
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        code = runner.run(_supervise(main, shutdown_timeout_s))
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second one, while Python winds up, must not spoil the exit code
    sys.exit(code)


def settle() -> None:
    """Tell the garbage collector that start-up is over: what is there now stays, and is not gone through any more.

    For processes that answer many calls or messages: modules, schemas, descriptors are some hundred thousand objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BETWEEN_COLLECTIONS)


async def _supervise(main: Coroutine[object, object, object], shutdown_timeout_s: float) -> int:
    stopped_by: list[str] = []
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in a task; this is for the type checker

    def stop(name: str) -> None:
        if stopped_by or task.done():
            return
        stopped_by.append(name)
        log.info("stopping", signal=name)
        loop.call_later(shutdown_timeout_s, _give_up, shutdown_timeout_s)
        task.cancel()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # Not loop.add_signal_handler: that falls back to dying of the signal when the loop closes.
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    for number in STOP_SIGNALS:
        signal.signal(number, on_signal)
    try:
        await main
    except asyncio.CancelledError:
        if not stopped_by:
            raise
    except Exception:
        log.exception("failed")
        return 1
    log.info("stopped", signal=stopped_by[0] if stopped_by else None)
    return 0


def _give_up(after_s: float) -> None:
    hung = sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks())
    log.error("shutdown_took_too_long", seconds=after_s, tasks=hung)
    sys.stderr.flush()
    os._exit(1)
