"""Waiting for a level."""

import pytest

from manman_devstack.eventually import eventually


class Countdown:
    """Says no a few times, then yes."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


async def test_it_returns_the_first_true_answer() -> None:
    answers = iter([0, None if False else "", "yes"])
    assert await eventually(lambda: next(answers)) == "yes"


async def test_it_asks_an_async_check_again_after_an_assertion() -> None:
    ready = Countdown(3)

    async def check() -> None:
        assert ready()

    assert await eventually(check) is None


async def test_when_time_is_up_it_raises_what_the_check_said() -> None:
    def check() -> None:
        raise AssertionError("still three rows")

    with pytest.raises(AssertionError, match="still three rows"):
        await eventually(check, timeout_s=0.05)


async def test_when_time_is_up_it_shows_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"still answers \[\]"):
        await eventually(list, timeout_s=0.05)


async def test_another_error_ends_the_wait_at_once() -> None:
    def check() -> None:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        await eventually(check)
