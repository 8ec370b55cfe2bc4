"""What a host must not say: it ends in the dead letters with a reason, changes nothing and holds up nobody."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from manman_devstack.control import Json
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker
from manman_devstack.platform import Platform
from manman_devstack.scripted_host import ScriptedHost
from manman_devstack.stage import Database, Stage, Subscriber


@dataclass(frozen=True)
class Clerk:
    """Looks dead letters up through the API, as an operator does."""

    http: httpx2.AsyncClient

    async def letter(self, message_id: str) -> Json:
        """Return the dead letter with that id; AssertionError if it is not there yet."""
        listed = (await self.http.get("/v1/dead-letters", params={"queue": "processor-events"})).json()
        found = [one for one in listed["dead_letters"] if one["message_id"] == message_id]
        assert found, f"{message_id} is not among the dead letters yet"
        answer: Json = (await self.http.get(f"/v1/dead-letters/{found[0]['dead_letter_id']}")).json()
        return {**answer["dead_letter"], "body": answer["body"], "body_encoding": answer["body_encoding"]}

    async def post(self, verb: str, **fields: object) -> Json:
        """Replay or purge."""
        answer: Json = (await self.http.post(f"/v1/dead-letters:{verb}", json=fields)).raise_for_status().json()
        return answer


@pytest.fixture
async def clerk(platform: Platform) -> AsyncIterator[Clerk]:
    async with httpx2.AsyncClient(base_url=platform.rest, trust_env=False) as http:
        yield Clerk(http)


async def queue_moves(host: ScriptedHost, pending: int, database: Database) -> None:
    await host.report(pending, "starting")
    await eventually(lambda: database.status_is(pending, "starting"))


@pytest.mark.parametrize(
    ("before", "report"),
    [
        ([], "pending"),
        (["starting", "running"], "pending"),
        (["running"], "lost"),
        (["running"], "completed"),
        (["running", "stopping", "stopped"], "completed"),
        (["running", "crashed"], "lost"),
        (["running"], "flying"),
    ],
)
async def test_an_impossible_transition_is_dead_lettered_and_the_row_stays(
    *,
    host: ScriptedHost,
    pending: int,
    stage: Stage,
    database: Database,
    clerk: Clerk,
    before: list[str],
    report: str,
) -> None:
    for status in before:
        await host.report(pending, status)
    expected = before[-1] if before else "pending"
    await eventually(lambda: database.status_is(pending, expected))
    row = await database.session(pending)

    message_id = await host.report(pending, report)
    dead = await eventually(lambda: clerk.letter(message_id))
    assert dead["reason"] in {"Conflict", "Invalid"}
    assert dead["error"]
    assert dead["routing_key"] == f"status.session.{pending}"
    assert json.loads(dead["body"])["status"] == report
    assert await database.session(pending) == row

    await host.beat()
    other = await stage.start(await stage.deployment(host.server_id))
    await queue_moves(host, other, database)


@pytest.mark.parametrize("late", ["starting", "running", "stopping"])
async def test_late_news_of_an_ended_session_changes_nothing(
    host: ScriptedHost, pending: int, database: Database, subscriber: Subscriber, late: str
) -> None:
    await host.report(pending, "running")
    await host.report(pending, "crashed", exit_code=3)
    row = await eventually(lambda: database.status_is(pending, "crashed"))
    await host.report(pending, late)
    await host.report(pending, "crashed", exit_code=4, message="again")  # tells more, changes no status
    row_then = await eventually(lambda: with_message(database, pending))
    assert (row_then["status"], row_then["exit_code"], row_then["ended_at"]) == ("crashed", 3, row["ended_at"])
    ended = ("manman.session.running", "manman.session.crashed")
    await eventually(lambda: subscriber.expect(*ended, session_id=pending))


async def with_message(database: Database, session_id: int) -> dict[str, Any]:
    row = await database.session(session_id)
    assert row["status_message"] == "again"
    return row


async def test_a_host_that_goes_on_running_what_has_ended_is_told_to_stop_it(
    host: ScriptedHost, pending: int, database: Database, onlooker: Onlooker
) -> None:
    await host.report(pending, "running")
    await host.report(pending, "crashed", exit_code=1)
    await eventually(lambda: database.status_is(pending, "crashed"))

    async def stop_command() -> bytes:
        await host.report(pending, "running")  # within the first ten seconds it is late news, then a zombie
        sent = await onlooker.take_all(f"host-{host.server_id}-commands")
        bodies = [seen.body for seen in sent if seen.routing_key.endswith("session.stop")]
        assert bodies, "no stop command yet"
        return bodies[0]

    command = json.loads(await eventually(stop_command, timeout_s=25))
    assert (command["session_id"], command["force"]) == (pending, True)
    await database.status_is(pending, "crashed")


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("status.session.1", b'{"session_id": 1, "sta', "Invalid"),
        ("status.session.1", b"\xff\xfe", "Invalid"),
        ("status.session.1", b"[]", "Invalid"),
        ("status.session.1", b'{"session_id":"seven","status":"running"}', "Invalid"),
        ("status.session.1", b'{"status":"running"}', "Invalid"),
        ("status.session.999999999", b'{"session_id":999999999,"status":"running"}', "NotFound"),
        ("status.host.999999999", b'{"server_id":999999999,"status":"online"}', "NotFound"),
        ("health.host.999999999", b'{"server_id":999999999}', "NotFound"),
        ("health.other.1", b"{}", "Invalid"),
    ],
)
async def test_a_message_that_cannot_be_right_is_dead_lettered_with_its_reason_and_the_queue_moves_on(
    *, host: ScriptedHost, pending: int, database: Database, clerk: Clerk, key: str, body: bytes, reason: str
) -> None:
    message_id = await host.say(key, body, str(uuid.uuid4()))
    dead = await eventually(lambda: clerk.letter(message_id))
    assert dead["reason"] == reason
    shown = base64.b64decode(dead["body"]) if dead["body_encoding"] == "base64" else dead["body"].encode()
    assert shown == body
    await queue_moves(host, pending, database)


async def test_a_status_of_a_host_that_nobody_knows_is_refused(host: ScriptedHost, clerk: Clerk) -> None:
    message_id = await host.report_self("sleepy")
    dead = await eventually(lambda: clerk.letter(message_id))
    assert dead["reason"] in {"Conflict", "Invalid"}


async def test_a_bad_message_between_good_ones_harms_neither(
    host: ScriptedHost, pending: int, database: Database, clerk: Clerk
) -> None:
    await host.report(pending, "starting")
    bad = await host.say(f"status.session.{pending}", b"{")
    await host.report(pending, "running")
    await eventually(lambda: database.status_is(pending, "running"))
    await eventually(lambda: clerk.letter(bad))


async def test_dead_letters_are_counted_where_an_operator_looks(
    host: ScriptedHost, platform: Platform, clerk: Clerk
) -> None:
    async with httpx2.AsyncClient(base_url=platform.probes("processor"), trust_env=False) as http:

        async def count() -> float:
            name = 'manman_messages_total{outcome="dead_lettered",queue="processor-events"} '
            lines = (await http.get("/metrics")).text.splitlines()
            return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)

        before = await count()
        message_id = await host.say("status.session.1", b"{")
        await eventually(lambda: clerk.letter(message_id))
        assert await count() == before + 1


async def test_a_report_that_came_before_its_session_is_replayed_once_the_session_is_there(
    host: ScriptedHost, pending: int, stage: Stage, database: Database, clerk: Clerk
) -> None:
    early = await host.report(pending + 1, "running")
    letter = await eventually(lambda: clerk.letter(early))
    assert (letter["reason"], letter["replayed_at"]) == ("NotFound", "0")
    assert await stage.start(await stage.deployment(host.server_id)) == pending + 1

    answer = await clerk.post("replay", dead_letter_ids=[letter["dead_letter_id"]])

    assert answer == {"replayed": "1"}
    await eventually(lambda: database.status_is(pending + 1, "running"))
    assert (await clerk.letter(early))["replayed_by"] == "dev-user"


async def test_a_half_written_report_dies_again_as_a_new_letter_and_is_purged(host: ScriptedHost, clerk: Clerk) -> None:
    message_id = await host.say("status.session.1", b'{"session_id": 1, "sta')
    first = await eventually(lambda: clerk.letter(message_id))
    assert (first["reason"], first["body"], first["body_encoding"]) == ("Invalid", '{"session_id": 1, "sta', "text")
    await clerk.post("replay", dead_letter_ids=[first["dead_letter_id"]])

    async def again() -> Json:
        letter = await clerk.letter(message_id)
        assert letter["died_again"]
        return letter

    second = await eventually(again)
    ids = [first["dead_letter_id"], second["dead_letter_id"]]
    assert await clerk.post("purge", dead_letter_ids=ids) == {"purged": "2"}
    assert await clerk.post("purge", dead_letter_ids=ids) == {"purged": "0"}
