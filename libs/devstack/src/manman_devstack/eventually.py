"""Wait for a level, never for a while: ask again until the answer is yes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.2

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, timeout_s: float = 10.0) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, timeout_s: float = 10.0) -> T: ...
async def eventually(check: Callable[[], Awaitable[T]] | Callable[[], T], *, timeout_s: float = 10.0) -> T:
    """Ask `check` again and again until it answers something true, and return that answer.

    A check that returns None says yes by raising no AssertionError. After `timeout_s` seconds its last AssertionError
    is raised, or one that shows its last answer. Any other exception ends the wait at once.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        refusal: AssertionError
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
        except AssertionError as error:
            refusal = error
        else:
            if answer is None or answer:
                return answer
            refusal = AssertionError(f"{getattr(check, '__qualname__', check)} still answers {answer!r}")
        if time.monotonic() > deadline:
            refusal.add_note(f"waited {timeout_s:g} s")
            raise refusal
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
