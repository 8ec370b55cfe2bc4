import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from manman.db import transitions
from manman.db.outbox import ONE_BY_ONE_MAX, Look
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.errors import Conflict, Invalid
from manman.identifiers import new_id
from manman.messages.external import SessionEvent
from manman.messages.status import OutputLine


async def move(world: Any, session_id: int, change: Change) -> None:
    async with world.uow.batch() as batch:
        rows = await batch.lock_sessions([session_id])
        transitions.apply_in_batch(batch, rows[session_id], change, now=world.now)
        batch.write_sessions(rows.values())
        await batch.commit()


async def test_a_plain_row_is_written_as_a_mapped_one_would_be(world: Any) -> None:
    plain_id, mapped_id = await world.session(), await world.session()
    change = Change(
        status=Status.CRASHED,
        reason="r",
        message="m",
        container_id="c",
        exit_code=137,
        seq=2,
        signal=9,
        oom_killed=True,
        last_lines=[OutputLine(message="nul \x00 byte", source="stderr", timestamp=3)],
    )
    await move(world, plain_id, change)
    async with world.uow() as tx:
        await transitions.apply(tx, await tx.sessions.lock(mapped_id), change, now=world.now)
        await tx.commit()
    async with world.uow() as tx:
        plain, mapped = await tx.sessions.get(plain_id), await tx.sessions.get(mapped_id)
        own = {"session_id", "sgc_id", "updated_at", "created_at"}
        columns = [column.key for column in plain.__table__.columns if column.key not in own]
        assert {name: getattr(plain, name) for name in columns} == {name: getattr(mapped, name) for name in columns}
        assert await tx.sessions.crash_lines(plain_id) == await tx.sessions.crash_lines(mapped_id)
        assert len(await tx.outbox.unpublished(limit=9)) == 2


@pytest.mark.parametrize("count", [1, ONE_BY_ONE_MAX, ONE_BY_ONE_MAX + 1])
async def test_few_rows_are_written_as_many_are(world: Any, count: int) -> None:
    async with world.uow() as tx:
        hosts = [await tx.servers.add(name=f"host {n}", status="online", last_seen=world.now) for n in range(count)]
        await tx.commit()
    session_ids = [await world.session() for _ in range(count)]
    later, boot = world.now + timedelta(seconds=1.5), uuid4()
    async with world.uow.batch() as batch:
        servers = await batch.lock_servers([host.server_id for host in hosts])
        sessions = await batch.lock_sessions(session_ids)
        for number, row in enumerate(servers.values()):
            row.last_seen, row.features, row.announced_address = later, ["one", f'{number}, "two"'][number % 2 :], "'"
            row.host_draining = True
        for number, session in enumerate(sessions.values()):
            session.status, session.started_at, session.ended_at = "crashed", world.now, later
            session.status_message, session.exit_code, session.host_boot_id = f"it's {number}, ü", 2**31 - 1, boot
            session.last_seq, session.oom_killed, session.progress_percent = 2**62, True, number
        batch.write_servers(servers.values())
        batch.write_sessions(sessions.values())
        await batch.commit()
    async with world.uow.batch() as batch:
        assert await batch.lock_servers(servers) == servers
        assert await batch.lock_sessions(sessions) == sessions


@pytest.mark.parametrize("count", [ONE_BY_ONE_MAX, 2 * ONE_BY_ONE_MAX])
async def test_events_are_numbered_in_the_order_of_each_deployment(world: Any, count: int) -> None:
    deployments = [await world.deploy() for _ in range(2)]
    seen: list[tuple[int, str, int]] = []
    for part in range(2):
        look = Look(limit=100, in_flight=[*range(len(seen) + 1)])
        async with world.uow.batch() as batch:
            for number in range(count):  # the deployment with the greater id is the first
                sgc_id = deployments[(number + 1) % 2]
                body = SessionEvent(
                    session_id=1, sgc_id=sgc_id, status=f"{part} {number}", event_id=new_id(), occurred_at=world.now
                )
                batch.outbox.add_external(routing_key="k", body=body, message_id=new_id(), sgc_id=sgc_id)
            await batch.commit(look)
        bodies = [json.loads(row.body) for row in look.rows or []]
        seen += [(body["sgc_id"], body["status"], body["sequence"]) for body in bodies]
    for index, sgc_id in enumerate(deployments):
        numbers = [f"{part} {number}" for part in range(2) for number in range(count) if (number + 1) % 2 == index]
        assert [one for one in seen if one[0] == sgc_id] == [
            (sgc_id, status, sequence) for sequence, status in enumerate(numbers, 1)
        ]


async def test_the_lines_of_a_crash_are_kept_once_however_often_they_come(world: Any) -> None:
    session_id = await world.session()
    for text in ("first", "second"):
        await move(world, session_id, Change(status=Status.CRASHED, last_lines=[OutputLine(message=text)]))
    async with world.uow() as tx:
        assert [line["message"] for line in await tx.sessions.crash_lines(session_id)] == ["first"]


async def test_a_row_that_was_not_changed_is_not_written(world: Any) -> None:
    session_id = await world.session()
    async with world.uow() as tx:
        before = (await tx.sessions.get(session_id)).updated_at
    async with world.uow.batch() as batch:
        servers = await batch.lock_servers([world.server_id])
        sessions = await batch.lock_sessions([session_id])
        batch.write_servers(servers.values())
        batch.write_sessions(sessions.values())
        await batch.commit()
    async with world.uow() as tx:
        assert (await tx.sessions.get(session_id)).updated_at == before


async def test_rows_that_do_not_exist_are_left_out(world: Any) -> None:
    session_id = await world.session()
    async with world.uow.batch() as batch:
        assert set(await batch.lock_servers([world.server_id, 10**12])) == {world.server_id}
        assert set(await batch.lock_sessions([session_id, 10**12])) == {session_id}
        assert await batch.lock_sessions([]) == {}


async def test_what_the_database_refuses_raises_at_the_commit_and_nothing_remains(world: Any) -> None:
    session_id = await world.session()
    with pytest.raises(Invalid):
        await move(world, session_id, Change(status=Status.RUNNING, exit_code=2**40))
    async with world.uow() as tx:
        assert (await tx.sessions.get(session_id)).status == "pending"
        assert await tx.outbox.unpublished(limit=1) == []


async def test_a_second_live_session_of_a_deployment_is_a_conflict_here_as_well(world: Any) -> None:
    lost_id = await world.session()
    async with world.uow() as tx:
        row = await tx.sessions.lock(lost_id)
        await transitions.apply(tx, row, Change(status=Status.LOST), now=world.now)
        await tx.sessions.add(sgc_id=row.sgc_id, now=world.now)
        await tx.commit()
    with pytest.raises(Conflict, match="live session"):
        await move(world, lost_id, Change(status=Status.RUNNING))


async def test_the_sessions_of_hosts_are_the_live_and_lost_ones_and_those_asked_for(world: Any) -> None:
    live, lost, ended, asked = [await world.session() for _ in range(4)]
    async with world.uow() as tx:
        for session_id, status in ((lost, Status.LOST), (ended, Status.STOPPED), (asked, Status.STOPPED)):
            await transitions.apply(tx, await tx.sessions.lock(session_id), Change(status=status), now=world.now)
        await tx.commit()
    async with world.uow.batch() as batch:
        found = await batch.sessions_of([world.server_id], also=[asked, live])
        assert [row.session_id for row in found] == sorted([live, lost, asked])
        assert await batch.sessions_of([10**12], also=[asked]) == []


async def test_leaving_without_a_commit_rolls_back_and_lets_go(world: Any) -> None:
    session_id = await world.session()
    async with world.uow.batch() as batch:
        rows = await batch.lock_sessions([session_id])
        transitions.apply_in_batch(batch, rows[session_id], Change(status=Status.RUNNING), now=world.now)
        batch.write_sessions(rows.values())
    await move(world, session_id, Change(status=Status.STARTING))
    async with world.uow() as tx:
        assert (await tx.sessions.get(session_id)).status == "starting"
        assert await tx.outbox.unpublished(limit=1) == []
