"""What becomes of a restart that was decided: it is started when it is due, waits for its host, or is given up."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.configs import RestartPolicy
from manman.domain.parameters import Declared
from manman.domain.readiness import ReadyQuery
from manman.domain.restarts import Limits, RestartState
from manman.domain.sessions import Status
from manman.errors import Conflict
from manman.messages.codec import decode
from manman.messages.commands import StartSession
from manman_api.handlers import deployments, restarts, servers, sessions
from manman_api.paging import Page

PATIENCE = timedelta(seconds=300)
ON_CRASH = RestartPolicy(policy="on_crash")


def later(world: Any, seconds: float) -> datetime:
    return world.now + timedelta(seconds=seconds)


async def crash(
    world: Any, row: Any, *, attempt: int = 1, state: RestartState = RestartState.WAITING, **values: str
) -> int:
    """Start and crash a session, and record a restart that is due in ten seconds; return its id."""
    run = await sessions.start_session(
        deployment_id=row.sgc_id, parameters=values, force=False, timeout_s=60, now=world.now, uow=world.uow
    )
    async with world.uow() as tx:
        session = await tx.sessions.lock(run.session_id)
        await transitions.apply(tx, session, Change(status=Status.CRASHED), now=world.now)
        await tx.restarts.decide(
            sgc_id=row.sgc_id,
            session_id=session.session_id,
            state=state,
            attempt=attempt,
            limits=Limits(),
            due_at=later(world, 10),
        )
        await tx.commit()
    return session.session_id


async def start_due(world: Any, seconds: float) -> int:
    return await restarts.start_due(timeout_s=60, patience=PATIENCE, now=later(world, seconds), uow=world.uow)


async def newest(world: Any, row: Any) -> Any:
    async with world.uow() as tx:
        return (await tx.restarts.history(row.sgc_id, limit=1))[0]


async def state(world: Any, row: Any) -> Any:
    return (await deployments.get_deployment(deployment_id=row.sgc_id, uow=world.uow)).restart


async def test_a_restart_is_made_when_it_is_due_with_what_its_session_was_started_with(world: Any) -> None:
    row = await world.deployment(restart_policy=ON_CRASH, parameters=[Declared(key="seed", default_value="1")])
    crashed = await crash(world, row, attempt=3, seed="42")
    assert await start_due(world, 9) == 0
    assert (await state(world, row)).state == "waiting"

    assert await start_due(world, 10) == 1

    again = await newest(world, row)
    assert (again.status, again.restart_of_session_id, again.restart_attempt) == ("pending", crashed, 3)
    assert again.parameters == {"seed": "42"}
    assert again.deadline_at == later(world, 70)
    assert await state(world, row) is None
    async with world.uow() as tx:
        command = decode(StartSession, (await tx.outbox.unpublished(limit=99))[-1].body)
    assert (command.session_id, command.parameters, command.force) == (again.session_id, {"seed": "42"}, False)


async def test_however_many_processes_do_it_each_restart_is_made_once(world: Any) -> None:
    host = await world.host()
    rows = [await world.deploy(host, await world.config(restart_policy=ON_CRASH)) for _ in range(3)]
    for row in rows:
        await crash(world, row)
    counts = await asyncio.gather(*(start_due(world, 11) for _ in range(4)))
    assert sum(counts) == 3
    assert [(await newest(world, row)).restart_attempt for row in rows] == [1, 1, 1]


@pytest.mark.parametrize("force", [False, True])
async def test_a_start_by_hand_drops_the_restart_that_waits(world: Any, *, force: bool) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    await crash(world, row)
    run = await sessions.start_session(
        deployment_id=row.sgc_id, parameters={}, force=force, timeout_s=60, now=world.now, uow=world.uow
    )
    assert (run.restart_of_session_id, run.restart_attempt) == (0, 0)
    assert await state(world, row) is None
    assert await start_due(world, 11) == 0
    assert (await newest(world, row)).session_id == run.session_id


async def test_a_start_by_hand_ends_a_crash_loop(world: Any) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    await crash(world, row, state=RestartState.CRASH_LOOP)
    assert await start_due(world, 9999) == 0
    await sessions.start_session(
        deployment_id=row.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
    )
    assert await state(world, row) is None


async def test_a_stop_of_the_session_that_ended_calls_the_restart_off(world: Any) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    crashed = await crash(world, row)
    run = await sessions.stop_session(session_id=crashed, force=False, requested_by="ann", now=world.now, uow=world.uow)
    assert (run.status, run.stop_requested_at) == ("crashed", 0)
    found = await state(world, row)
    assert (found.state, found.reason) == ("given_up", "called off by ann")
    assert await start_due(world, 11) == 0


@pytest.mark.parametrize("column", ["draining", "host_draining", "status"])
async def test_a_restart_waits_for_its_host_and_is_given_up_after_a_while(world: Any, column: str) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    crashed = await crash(world, row)
    async with world.uow() as tx:
        server = await tx.servers.lock(row.server_id)
        setattr(server, column, "offline" if column == "status" else True)
        await tx.commit()
    assert await start_due(world, 11) == 0
    assert await start_due(world, 309) == 0
    assert (await state(world, row)).state == "waiting"
    assert await start_due(world, 311) == 1
    found = await state(world, row)
    assert (found.state, found.session_id) == ("given_up", crashed)
    assert found.reason == "its host could not start it for 300 s: offline, or draining"


async def test_a_restart_that_waited_is_made_as_soon_as_its_host_can(world: Any) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    await crash(world, row)
    await servers.set_draining(server_id=row.server_id, draining=True, uow=world.uow)
    assert await start_due(world, 11) == 0
    await servers.set_draining(server_id=row.server_id, draining=False, uow=world.uow)
    assert await start_due(world, 200) == 1
    assert (await newest(world, row)).restart_attempt == 1


async def test_a_start_that_is_refused_is_given_up_with_the_reason_and_holds_no_other_up(world: Any) -> None:
    host = await world.host()
    refused = await world.deploy(host, await world.config(restart_policy=ON_CRASH))
    fine = await world.deploy(host, await world.config(restart_policy=ON_CRASH))
    await crash(world, refused)
    await crash(world, fine)
    async with world.uow() as tx:
        config = await tx.configs.lock(refused.game_config_id)
        config.ready_query_kind, config.ready_query_port = "a2s", "query"
        await tx.commit()
    assert await start_due(world, 11) == 2
    found = await state(world, refused)
    assert found.state == "given_up"
    assert "has no port of that name" in found.reason
    assert (await newest(world, fine)).restart_attempt == 1


async def test_a_start_in_which_our_own_code_fails_is_given_up_and_holds_no_other_up(world: Any) -> None:
    host = await world.host()
    broken = await world.deploy(host, await world.config(restart_policy=ON_CRASH))
    fine = await world.deploy(host, await world.config(restart_policy=ON_CRASH))
    session_id = await crash(world, broken)
    await crash(world, fine)
    async with world.uow() as tx:
        row = await tx.sessions.lock(session_id)
        row.parameters = ["these are no parameters"]
        await tx.commit()
    assert await start_due(world, 11) == 2
    found = await state(world, broken)
    assert (found.state, found.reason) == ("given_up", "the start failed through a fault in the api: its log says more")
    assert (await newest(world, fine)).restart_attempt == 1


async def test_a_policy_that_changed_to_never_is_heeded(world: Any) -> None:
    row = await world.deployment(restart_policy=ON_CRASH)
    crashed = await crash(world, row)
    values = world.deployment_values(restart_policy=RestartPolicy(policy="never"))
    await deployments.update_deployment(
        deployment_id=row.sgc_id,
        values=values,
        update_paths=["restart_policy"],
        default_ranges=world.ranges,
        now=world.now,
        uow=world.uow,
    )
    await start_due(world, 11)
    assert await state(world, row) is None
    assert (await newest(world, row)).session_id == crashed


async def test_a_list_of_deployments_tells_which_wait(world: Any) -> None:
    host = await world.host()
    waiting = await world.deploy(host, await world.config(restart_policy=ON_CRASH))
    await world.deploy(host, await world.config())
    await crash(world, waiting)
    found, _ = await deployments.list_deployments(server_id=0, page=Page(), uow=world.uow)
    assert [each.restart.state if each.restart else "" for each in found] == ["waiting", ""]


async def test_a_query_reaches_the_host_with_the_port_inside_the_container(world: Any) -> None:
    row = await world.deployment(
        ready_pattern="^Done", ready_query=ReadyQuery("a2s", "27015"), liveness_limit_seconds=60
    )
    await sessions.start_session(
        deployment_id=row.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
    )
    async with world.uow() as tx:
        command = decode(StartSession, (await tx.outbox.unpublished(limit=9))[-1].body)
    ready = command.readiness
    assert (ready.pattern, ready.query, ready.port, ready.liveness_limit_seconds) == ("^Done", "a2s", 27015, 60)


async def test_a_start_whose_query_asks_at_a_port_without_a_name_is_refused(world: Any) -> None:
    row = await world.deployment(ready_query=ReadyQuery("a2s", "query"))
    with pytest.raises(Conflict, match="'query'"):
        await sessions.start_session(
            deployment_id=row.sgc_id, parameters={}, force=False, timeout_s=60, now=world.now, uow=world.uow
        )
