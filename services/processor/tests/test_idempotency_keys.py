"""Idempotency keys do not stay for ever."""

from datetime import UTC, datetime, timedelta
from typing import Any

from manman.domain.idempotency import Attempt
from manman_processor.sweeps import idempotency_keys

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def keep(uow: Any, key: str, now: datetime) -> int | None:
    """Use a key for a thing with the id 1; return what it stood for before."""
    attempt = Attempt(subject="s", rpc="ManManAPI.StartSession", key=key, fingerprint=b"f" * 32)
    async with uow() as tx:
        made: int | None = await tx.idempotency_keys.made_before(attempt, now=now)
        await tx.idempotency_keys.made(attempt, 1)
        await tx.commit()
    return made


async def test_a_key_goes_when_it_is_older_than_such_are_kept_however_often_it_was_used(uow: Any) -> None:
    await keep(uow, "old", NOW - DAY - timedelta(seconds=1))
    await keep(uow, "young", NOW - DAY)
    assert await keep(uow, "old", NOW) == 1
    assert await idempotency_keys.sweep(uow, NOW, DAY) == 1
    assert await keep(uow, "old", NOW) is None
    assert await keep(uow, "young", NOW) == 1
