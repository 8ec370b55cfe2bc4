"""A key is kept with what it stands for, and attempts at the same time come one after the other."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from manman.domain.idempotency import Attempt
from manman.errors import Invalid
from manman_devstack.eventually import eventually

FIRST = Attempt(subject="ann", rpc="ManManAPI.StartSession", key="k", fingerprint=b"1" * 32)


async def make(uow: Any, world: Any, attempt: Attempt | None, made_id: int) -> int:
    """Make something unless an earlier attempt did; return its id."""
    async with uow() as tx:
        earlier = await tx.idempotency_keys.made_before(attempt, now=world.now)
        if earlier is not None:
            return int(earlier)
        await tx.idempotency_keys.made(attempt, made_id)
        await tx.commit()
    return made_id


async def test_a_later_attempt_is_told_what_the_first_one_made(uow: Any, world: Any) -> None:
    assert await make(uow, world, FIRST, 7) == 7
    assert await make(uow, world, FIRST, 8) == 7


@pytest.mark.parametrize("other", [{"subject": "bob"}, {"rpc": "ManManAPI.DeployGameConfig"}, {"key": "K"}])
async def test_keys_of_other_callers_and_other_calls_are_other_keys(
    uow: Any, world: Any, other: dict[str, str]
) -> None:
    await make(uow, world, FIRST, 7)
    assert await make(uow, world, replace(FIRST, **other), 8) == 8


async def test_calls_without_a_key_are_never_the_same(uow: Any, world: Any) -> None:
    assert [await make(uow, world, None, made) for made in (1, 2)] == [1, 2]


async def test_an_attempt_that_fails_leaves_the_key_free(uow: Any, world: Any) -> None:
    async with uow() as tx:
        assert await tx.idempotency_keys.made_before(FIRST, now=world.now) is None
    assert await make(uow, world, FIRST, 8) == 8


async def test_the_key_of_another_request_is_refused(uow: Any, world: Any) -> None:
    await make(uow, world, FIRST, 7)
    with pytest.raises(Invalid, match="idempotency-key"):
        await make(uow, world, replace(FIRST, fingerprint=b"2" * 32), 8)


@pytest.mark.parametrize("commits", [True, False])
async def test_an_attempt_waits_for_the_one_under_way(uow: Any, world: Any, commits: bool) -> None:  # noqa: FBT001 - a case
    async with asyncio.TaskGroup() as group:
        async with uow() as tx:
            await tx.idempotency_keys.made_before(FIRST, now=world.now)
            second = group.create_task(make(uow, world, FIRST, 8))
            await eventually(lambda: _somebody_waits(uow))
            if commits:
                await tx.idempotency_keys.made(FIRST, 7)
                await tx.commit()
        assert await second == (7 if commits else 8)


async def test_keys_go_when_they_are_old(uow: Any, world: Any) -> None:
    await make(uow, world, FIRST, 7)
    async with uow() as tx:
        assert await tx.idempotency_keys.delete_old(before=world.now, limit=10) == 0
        assert await tx.idempotency_keys.delete_old(before=world.now + timedelta(seconds=1), limit=10) == 1
        await tx.commit()
    assert await make(uow, world, FIRST, 9) == 9


async def _somebody_waits(uow: Any) -> None:
    """Look in a transaction of its own: one transaction sees the same activity however often it looks."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with uow() as tx:
        assert await tx._database_session.scalar(text(query))
