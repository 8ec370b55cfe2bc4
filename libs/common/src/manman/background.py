"""A *background task* runs beside a block and ends with it.

It is a task group of one that does not dress the block's own errors up as an exception group, so that a context
manager may use it without its callers noticing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@contextlib.asynccontextmanager
async def running(work: Coroutine[object, object, object], name: str) -> AsyncIterator[None]:
    """Run `work` while the block runs, and cancel it at the block's end.

    Errors of the block come out as they are. If `work` fails, the block is cancelled and an exception group with
    that failure comes out.
    """
    raised: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again below, outside the group
            raised = error
        finally:
            task.cancel()
    if raised is not None:
        raise raised
