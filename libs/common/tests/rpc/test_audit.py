"""What the chain records when the journal, the caller or the servicer fails."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from manman import errors
from manman.rpc import access, audit
from manman.rpc.chain import Chain
from manman.rpc.errors import CallFailed
from manman.v1 import api_pb2, games_pb2

METHODS = api_pb2.DESCRIPTOR.services_by_name["ManManAPI"].methods_by_name
CREATE, READ = METHODS["CreateGame"], METHODS["GetGame"]


class Notebook:
    """A journal in memory that fails when told to."""

    def __init__(self) -> None:
        self.entries: list[tuple[audit.Entry, str, Mapping[str, str]]] = []
        self.begins = self.ends = True

    async def begin(self, entry: audit.Entry) -> int:
        if not self.begins:
            raise errors.Unavailable("the journal is away")
        self.entries.append((entry, "", entry.ids))
        return len(self.entries) - 1

    async def end(self, number: int, code: str, ids: Mapping[str, str]) -> None:
        if not self.ends:
            raise errors.Unavailable("the journal is away")
        self.entries[number] = (self.entries[number][0], code, ids)

    @property
    def codes(self) -> list[str]:
        return [code for _, code, _ in self.entries]


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def chain(notebook: Notebook) -> Chain:
    return Chain(access.authenticate_by_mode("none"), journal=notebook, timeout_s=0.2)


async def create(chain: Chain, handler: Any) -> Any:
    return await chain.call(CREATE, games_pb2.CreateGameRequest(name="g"), {"x-request-id": "r"}, handler)


async def made(_request: object) -> games_pb2.CreateGameResponse:
    return games_pb2.CreateGameResponse(game=games_pb2.Game(game_id=7, name="g"))


async def test_an_entry_is_there_before_the_servicer_runs_and_complete_before_the_answer(
    chain: Chain, notebook: Notebook
) -> None:
    async def look(request: object) -> games_pb2.CreateGameResponse:
        assert notebook.codes == [""]
        return await made(request)

    await create(chain, look)

    entry = audit.Entry("dev-user", "admin", "ManManAPI.CreateGame", {}, "r")
    assert notebook.entries == [(entry, "OK", {"game_id": "7"})]


async def test_nothing_is_changed_while_the_journal_cannot_be_written(chain: Chain, notebook: Notebook) -> None:
    notebook.begins = False
    calls: list[object] = []

    async def count(request: object) -> games_pb2.CreateGameResponse:
        calls.append(request)
        return await made(request)

    with pytest.raises(CallFailed, match="UNAVAILABLE"):
        await create(chain, count)
    assert calls == []
    await chain.call(READ, games_pb2.GetGameRequest(game_id=1), {}, count)


async def test_a_call_whose_outcome_cannot_be_written_succeeds_and_keeps_its_entry(
    chain: Chain, notebook: Notebook
) -> None:
    notebook.ends = False

    assert (await create(chain, made)).game.game_id == 7
    assert notebook.codes == [""]


async def test_failures_bugs_and_time_outs_are_outcomes(chain: Chain, notebook: Notebook) -> None:
    async def refuse(_request: object) -> None:
        raise errors.Conflict("no")

    async def break_down(_request: object) -> None:
        raise ZeroDivisionError

    async def hang(_request: object) -> None:
        await asyncio.Event().wait()

    for handler in (refuse, break_down, hang):
        with pytest.raises(CallFailed):
            await create(chain, handler)
    assert notebook.codes == ["FAILED_PRECONDITION", "INTERNAL", "DEADLINE_EXCEEDED"]


async def test_a_caller_who_leaves_does_not_leave_the_entry_open(chain: Chain, notebook: Notebook) -> None:
    running = asyncio.Event()

    async def hang(_request: object) -> None:
        running.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(create(chain, hang))
        await running.wait()
        task.cancel()
    assert notebook.codes == ["CANCELLED"]
