"""What has to be true when a soak's killing is over. Each check raises AssertionError with all that it found.

Everything is looked at around our own code: rows by SQL, containers at the engine, lines and events by plain AMQP.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from manman_devstack.fragile_platform import FragilePlatform
    from manman_devstack.onlooker import Onlooker, Seen

LIVE = ("pending", "starting", "running", "stopping")
MISSING = re.compile(r"\[manman\] (\d+) lines are missing here")
SPOKEN = re.compile(r"line (\d+): ")
LIFE = re.compile(r"(running )?(lost (running )?)?(stopped|crashed) ")
ANNOUNCED = {"stopped": "stopped", "completed": "stopped", "crashed": "crashed", "lost": "lost"}

SESSIONS = "SELECT session_id, status, container_id, started_at, exit_code, status_reason FROM sessions ORDER BY 1"
UNSENT = "SELECT count(*) AS unsent FROM outbox WHERE published_at IS NULL"
EVENTS = """SELECT message_id::text, routing_key, session_id FROM outbox
    WHERE exchange = 'external' AND routing_key LIKE 'manman.session.%%' ORDER BY id"""
REFUSED = """SELECT queue, error, convert_from(body, 'UTF8') AS body FROM dead_letters
    WHERE right(routing_key, 11) <> '.send_input'"""


@dataclass(frozen=True)
class Counted:
    """How much agreed: lines and lines that are marked as missing; events and copies of them."""

    lines: int = 0
    missing: int = 0
    events: int = 0
    copies: int = 0


async def agrees(fragile: FragilePlatform) -> None:
    """Check that every live session runs in its containers, that no other container is there, and nothing waits."""
    rows = [row for row in await fragile.database.rows(SESSIONS) if row["status"] in LIVE]
    found = await asyncio.to_thread(_containers, fragile)
    problems = [f"session {row['session_id']} is {row['status']}" for row in rows if row["status"] != "running"]
    for row in rows:
        for kind in ("game", "wrapper"):
            states = [one["State"] for one in found if _whose(one) == (row["session_id"], kind)]
            if states != ["running"]:
                problems.append(
                    f"session {row['session_id']} is {row['status']}, its {kind} {states or 'is not there'}"
                )
    live = {row["session_id"] for row in rows}
    problems += [
        f"a {_whose(one)[1]} of session {_whose(one)[0]} is left" for one in found if _whose(one)[0] not in live
    ]
    (unsent,) = await fragile.database.rows(UNSENT)
    problems += [f"{unsent['unsent']} messages are not sent"] if unsent["unsent"] else []
    _raise(problems)


async def nothing_is_left(fragile: FragilePlatform) -> None:
    """Check that no session is live and that containers, networks and session folders are gone."""
    rows = await fragile.database.rows(SESSIONS)
    problems = [f"session {row['session_id']} is {row['status']}" for row in rows if row["status"] in LIVE]
    found = await asyncio.to_thread(_containers, fragile)
    problems += [f"a {_whose(one)[1]} of session {_whose(one)[0]} is left" for one in found]
    labels = {"label": list(fragile.engine.labels)}
    networks = await asyncio.to_thread(fragile.engine.client.api.networks, filters=labels)
    problems += [f"the network {one['Name']} is left" for one in networks]
    folders = await asyncio.to_thread(lambda: list(fragile.platform.host_data.glob("session-*")))
    problems += [f"the folder {folder.name} is left" for folder in folders]
    _raise(problems)


async def nothing_was_refused(fragile: FragilePlatform) -> None:
    """Check that no message of ours was one that nobody could do anything with.

    But for what players typed: that a game has ended or starts anew when it comes, they are told.
    """
    rows = await fragile.database.rows(REFUSED)
    _raise([f"{row['queue']} refused {row['body'][:300]}: {row['error']}" for row in rows])


async def lines_are_numbered(fragile: FragilePlatform, onlooker: Onlooker) -> Counted:
    """Check that the lines of every session are there as the game said them, without gaps but those that are marked."""
    problems: list[str] = []
    lines = missing = 0
    for row in await fragile.database.rows(SESSIONS):
        name, last = f"session {row['session_id']}", 0
        marked = 0
        said = ""
        bodies = await onlooker.read_stream(f"logs.session.{row['session_id']}")
        for body in map(json.loads, bodies):
            mark = MISSING.search(body["message"]) if body["source"] == "host" else None
            marked += int(mark[1]) if mark else 0
            if not body.get("seq"):
                continue
            spoken = SPOKEN.match(body["message"])
            number, said = body["seq"], body["message"]
            if number != last + marked + 1:
                problems.append(f"{name}: line {number} comes after {last} with {marked} marked as missing")
            if not spoken or int(spoken[1]) != number:
                problems.append(f"{name}: line {number} says {said!r}")
            lines, missing = lines + 1, missing + marked
            last, marked = number, 0
        quit_in_order = (row["status"], row["status_reason"], row["exit_code"]) == ("stopped", "stopped", 0)
        if quit_in_order and row["started_at"] and "goodbye" not in said:
            problems.append(f"{name} was stopped in order, and its last line is {last}: {said!r}")
    _raise(problems)
    return Counted(lines=lines, missing=missing)


async def changes_were_told(fragile: FragilePlatform, seen: Sequence[Seen]) -> Counted:
    """Check that every change of a session went out, each under a message id of its own, in the order it happened."""
    rows = {row["session_id"]: row for row in await fragile.database.rows(SESSIONS)}
    written = await fragile.database.rows(EVENTS)
    heard: dict[str | None, Seen] = {}
    copies = 0
    problems: list[str] = []
    for one in (one for one in seen if one.routing_key.startswith("manman.session.")):
        copies += one.message_id in heard
        first = heard.setdefault(one.message_id, one)
        if (first.routing_key, first.body) != (one.routing_key, one.body):
            problems.append(f"two messages have the id {one.message_id}: {first.body!r} and {one.body!r}")
    ids = [row["message_id"] for row in written]
    problems += [
        f"{row['routing_key']} of session {row['session_id']} never arrived"
        for row in written
        if row["message_id"] not in heard
    ]
    problems += [
        f"{heard[one].routing_key} arrived, and nobody wrote it: {heard[one].body!r}" for one in set(heard) - set(ids)
    ]
    told = defaultdict[int, str](str)
    for one in heard.values():
        told[int(json.loads(one.body)["session_id"])] += one.routing_key.removeprefix("manman.session.") + " "
    problems += [problem for session_id, row in rows.items() for problem in _wrong_life(row, told[session_id])]
    _raise(problems)
    return Counted(events=len(heard), copies=copies)


def _wrong_life(row: dict[str, Any], told: str) -> Iterable[str]:
    name = f"session {row['session_id']}, which is {row['status']}"
    if not LIFE.fullmatch(told):
        yield f"{name}: its events were {told}"
    elif told.rsplit(maxsplit=1)[-1] != ANNOUNCED[row["status"]]:
        yield f"{name}: its last event was {told.rsplit(maxsplit=1)[-1]}"
    elif row["started_at"] is not None and "running" not in told:
        yield f"{name}: it ran, and its events were {told}"


def _containers(fragile: FragilePlatform) -> list[dict[str, Any]]:
    found = fragile.engine.client.api.containers(all=True, filters={"label": list(fragile.engine.labels)})
    return [one for one in found if "manman.session_id" in one["Labels"]]


def _whose(container: dict[str, Any]) -> tuple[int, str]:
    labels = container["Labels"]
    return int(labels["manman.session_id"]), str(labels["manman.type"])


def _raise(problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n".join([f"{len(problems)} things are wrong:", *problems[:40]]))
