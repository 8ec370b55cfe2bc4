"""Dead letters by both doors: for operators, the newest first, replayed all or none, purged for good."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest

from manman import clock
from manman.v1 import dead_letters_pb2 as pb
from manman.v1.dead_letters_pb2_grpc import DeadLettersStub
from manman_api.handlers.access import create_token
from manman_api.rpc.dead_letters import SHOWN_BODY_BYTES, readable

from .conftest import FIRST_DEATH, Api, served

REPORTS, COMMANDS = "processor-events", "host-7-commands"


@pytest.fixture
def letters(api: Api) -> Any:
    return DeadLettersStub(api.channel)


async def outbox(uow: Any) -> list[Any]:
    async with uow() as tx:
        return list(await tx.outbox.unpublished(limit=1000))


async def test_letters_are_listed_newest_first_by_queue_and_page(letters: Any, put_away: Any) -> None:
    ids = await put_away({}, {"queue": COMMANDS, "reason": "rejected"}, {}, {})
    first = await letters.ListDeadLetters(pb.ListDeadLettersRequest(queue=REPORTS, page_size=2))
    second = await letters.ListDeadLetters(
        pb.ListDeadLettersRequest(queue=REPORTS, page_size=2, page_token=first.next_page_token)
    )
    assert [one.dead_letter_id for one in first.dead_letters] == [ids[3], ids[2]]
    assert [one.dead_letter_id for one in second.dead_letters] == [ids[0]]
    assert second.next_page_token == ""
    (command,) = (await letters.ListDeadLetters(pb.ListDeadLettersRequest(queue=COMMANDS))).dead_letters
    assert (command.reason, command.dead_at) == ("rejected", int(FIRST_DEATH.timestamp()) + 1)


async def test_a_letter_is_shown_with_its_body_and_headers_by_rest(api: Api, put_away: Any) -> None:
    (letter_id,) = await put_away({"body": b'{"session_id": 1}', "headers": {"x-manman-reason": "NotFound"}})
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{api.addresses.rest}", trust_env=False) as http:
        shown = (await http.get(f"/v1/dead-letters/{letter_id}")).json()
    assert (shown["body"], shown["body_encoding"]) == ('{"session_id": 1}', "json")
    assert shown["headers"] == {"x-manman-reason": "NotFound"}
    assert shown["dead_letter"]["error"] == "session 1 does not exist"


async def test_a_replay_of_named_letters_goes_to_the_outbox_in_the_order_of_their_deaths(
    letters: Any, uow: Any, put_away: Any
) -> None:
    ids = await put_away({}, {"routing_key": "health.host.1", "body": b"beat"}, {})
    answer = await letters.ReplayDeadLetters(pb.ReplayDeadLettersRequest(dead_letter_ids=[ids[1], ids[0], ids[1]]))

    rows = await outbox(uow)
    assert answer.replayed == 2
    assert [(row.exchange, row.routing_key, row.body, row.replay_of, row.mandatory) for row in rows] == [
        ("manman", "status.session.1", b"{}", "m-0", True),
        ("manman", "health.host.1", b"beat", "m-1", True),
    ]
    waiting = await letters.ListDeadLetters(pb.ListDeadLettersRequest(waiting_only=True))
    assert [one.dead_letter_id for one in waiting.dead_letters] == [ids[2]]
    replayed = (await letters.GetDeadLetter(pb.GetDeadLetterRequest(dead_letter_id=ids[0]))).dead_letter
    assert (replayed.replayed_by, replayed.replayed_at > 0) == ("dev-user", True)


async def test_a_replay_of_a_queue_sends_what_waits_there_and_is_whole_and_a_second_one_nothing(
    letters: Any, uow: Any, put_away: Any
) -> None:
    await put_away({}, {"queue": COMMANDS}, {"is_cut_off": True}, {})
    request = pb.ReplayDeadLettersRequest(queue=REPORTS)

    assert (await letters.ReplayDeadLetters(request)).replayed == 2
    assert (await letters.ReplayDeadLetters(request)).replayed == 0
    assert [row.replay_of for row in await outbox(uow)] == ["m-0", "m-3"]


async def test_a_replay_that_cannot_be_whole_sends_nothing(api: Api, letters: Any, uow: Any, put_away: Any) -> None:
    whole, cut = await put_away({}, {"is_cut_off": True})
    for ids, queue, code in (
        ([whole, 999], "", grpc.StatusCode.NOT_FOUND),
        ([whole, cut], "", grpc.StatusCode.FAILED_PRECONDITION),
        ([whole], REPORTS, grpc.StatusCode.INVALID_ARGUMENT),
        ([], "", grpc.StatusCode.INVALID_ARGUMENT),
        ([0], "", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        request = pb.ReplayDeadLettersRequest(dead_letter_ids=ids, queue=queue)
        assert (await api.refusal(letters.ReplayDeadLetters(request)))[0] == code
    assert await outbox(uow) == []


async def test_a_purge_deletes_what_it_names_and_nothing_else(api: Api, letters: Any, put_away: Any) -> None:
    ids = await put_away({}, {"queue": COMMANDS}, {}, {})
    assert (await letters.PurgeDeadLetters(pb.PurgeDeadLettersRequest(dead_letter_ids=[ids[0], 999]))).purged == 1
    assert (await letters.PurgeDeadLetters(pb.PurgeDeadLettersRequest(queue=REPORTS))).purged == 2
    assert (await api.refusal(letters.PurgeDeadLetters(pb.PurgeDeadLettersRequest())))[0] is (
        grpc.StatusCode.INVALID_ARGUMENT
    )
    (left,) = (await letters.ListDeadLetters(pb.ListDeadLettersRequest())).dead_letters
    assert left.queue == COMMANDS
    refusal = await api.refusal(letters.GetDeadLetter(pb.GetDeadLetterRequest(dead_letter_id=ids[0])))
    assert refusal[0] is grpc.StatusCode.NOT_FOUND


@pytest.fixture
async def guarded(database_url: str, amqp_url: str) -> AsyncIterator[Api]:
    async with served(database_url, amqp_url, grpc_auth_mode="token") as api:
        yield api


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("host", False), ("operator", True), ("admin", True)])
async def test_operators_see_dead_letters_and_others_do_not(
    guarded: Api, uow: Any, put_away: Any, role: str, *, may: bool
) -> None:
    _, secret = await create_token(name=role, role=role, expires_at=None, now=clock.now(), uow=uow)
    metadata = (("authorization", f"Bearer {secret}"),)
    stub: Any = DeadLettersStub(guarded.channel)
    (letter_id,) = await put_away({})
    codes = []
    for call, request in (
        (stub.ListDeadLetters, pb.ListDeadLettersRequest()),
        (stub.GetDeadLetter, pb.GetDeadLetterRequest(dead_letter_id=letter_id)),
        (stub.ReplayDeadLetters, pb.ReplayDeadLettersRequest(dead_letter_ids=[letter_id])),
        (stub.PurgeDeadLetters, pb.PurgeDeadLettersRequest(dead_letter_ids=[letter_id])),
    ):
        try:
            await call(request, metadata=metadata)
        except grpc.aio.AioRpcError as refused:
            codes.append(refused.code())
    assert codes == ([] if may else [grpc.StatusCode.PERMISSION_DENIED] * 4)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a": 1}', ('{"a": 1}', "json")),
        (b'{"a": ', ('{"a": ', "text")),
        (b"", ("", "text")),
        (b"\xff\xfe", ("//4=", "base64")),
        (b"x" * (SHOWN_BODY_BYTES - 1) + "ü".encode(), ("x" * (SHOWN_BODY_BYTES - 1), "text")),
        (b"[" * 100_000, ("[" * SHOWN_BODY_BYTES, "text")),
    ],
)
def test_a_body_is_shown_as_what_it_is_and_not_longer_than_such_are_shown(body: bytes, shown: tuple[str, str]) -> None:
    assert readable(body) == shown
