"""A *saboteur*: the processor in a process that ends itself by SIGKILL just before or after one of its own calls.

`python -m manman_devstack.chaos.saboteur`, with `SABOTAGE=POINT:before:2` for the second time that it comes to POINT.
The program itself knows nothing of this: its calls are wrapped from outside before it starts.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import runpy
import signal
from typing import Any

POINTS = {
    "handle": "manman_processor.dispatch:Dispatch.handle",
    "commit": "manman.db.batch:Batch.commit",
    "dead_letter": "manman.bus.publisher:Publisher.publish",
    "acknowledge": "manman.bus.lane:Lane.acknowledge",
    "relay": "manman.bus.publisher:Sender.send",
    "settle": "manman_processor.flight:Flight.settle",
    "mark": "manman.db.outbox:WaitingRows.mark",
}
"""Everything that is awaited between taking a report and acknowledging it, and between committing and marking."""


def main() -> None:
    """Wrap the call that the environment names, then be the processor."""
    point, when, count = os.environ["SABOTAGE"].split(":")
    _wrap(POINTS[point], before=when == "before", countdown=int(count))
    runpy.run_module("manman_processor", run_name="__main__")


def _wrap(target: str, *, before: bool, countdown: int) -> None:
    module_name, _, path = target.partition(":")
    class_name, _, name = path.partition(".")
    owner = getattr(importlib.import_module(module_name), class_name)
    original = getattr(owner, name)
    calls = 0

    def arrive(arguments: tuple[Any, ...]) -> None:
        nonlocal calls
        if [] in arguments:  # it has nothing to do
            return
        calls += 1
        if calls == countdown and before:
            os.kill(os.getpid(), signal.SIGKILL)

    def leave() -> None:
        if calls == countdown:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    async def awaited(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the original takes and gives
        arrive(arguments)
        result = await original(*arguments, **named)
        leave()
        return result

    @functools.wraps(original)
    def called(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the same
        arrive(arguments)
        result = original(*arguments, **named)
        leave()
        return result

    setattr(owner, name, awaited if inspect.iscoroutinefunction(original) else called)


if __name__ == "__main__":
    main()
