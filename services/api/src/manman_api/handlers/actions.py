"""Actions: console commands that a game, config or deployment offers to whoever looks after a running session.

What is tried is recorded before the host is asked and completed after: a caller that hangs up, or a control plane that
ends in between, leaves a record that says so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from manman.domain import parameters
from manman.domain.action_definitions import check_definition
from manman.domain.action_inputs import MAX_CHARACTERS, check_inputs
from manman.domain.actions import ExecutionStatus, render
from manman.domain.sessions import Status
from manman.errors import Conflict, Invalid, Problem, TimedOut, Unavailable
from manman_api import paging
from manman_api.handlers.configs import declared
from manman_api.handlers.sessions import MAX_INPUT_BYTES, write_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from manman.bus.requests import Requests
    from manman.db.models import ActionDefinition, ActionExecution
    from manman.db.unit_of_work import Transaction, Uow
    from manman.domain.actions import Definition

OUTCOME_UNKNOWN = "the call ended before the host answered; the command may or may not have been sent"


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """An attempt to run an action. `error` says why nothing was sent, or that nobody knows; "" is success."""

    execution_id: int
    command: str
    error: str


async def list_actions(*, level: str, entity_id: int, uow: Uow) -> list[ActionDefinition]:
    """Return the actions of an entity in the order shown, or of all when `level` is empty; without their fields."""
    async with uow() as tx:
        return list(await tx.actions.list(level=level, entity_id=entity_id))


async def get_action(*, action_id: int, uow: Uow) -> ActionDefinition:
    """Return an action with its fields; raise `NotFound`."""
    async with uow() as tx:
        return await tx.actions.get(action_id)


async def save_action(*, wanted: Definition, uow: Uow) -> int:
    """Add an action, or replace the one of this level, entity and name; return its id.

    Raises `Invalid` with everything wrong with it, `NotFound` for the entity.
    """
    check_definition(wanted)
    async with uow() as tx:
        await _lock_entity(tx, wanted)
        row = await tx.actions.save(wanted)
        await tx.commit()
        return row.action_id


async def update_action(*, action_id: int, wanted: Definition, uow: Uow) -> None:
    """Replace an action with its fields. An empty level or an entity 0 leaves what it is.

    Raises `NotFound` for the action or the entity, `Invalid`, `AlreadyExists` for the name.
    """
    if action_id <= 0:
        raise Invalid([Problem("action.action_id", "name the action to replace")])
    async with uow() as tx:
        row = await tx.actions.get(action_id)
        level, entity_id = wanted.level or row.definition_level, wanted.entity_id or row.entity_id
        wanted = dataclasses.replace(wanted, level=level, entity_id=entity_id)
        check_definition(wanted)
        await _lock_entity(tx, wanted)
        await tx.actions.replace(await tx.actions.lock(action_id), wanted)
        await tx.commit()


async def delete_action(*, action_id: int, uow: Uow) -> None:
    """Remove an action; what was run stays on record. An unknown id is fine."""
    async with uow() as tx:
        await tx.actions.delete(action_id)
        await tx.commit()


async def session_actions(*, session_id: int, uow: Uow) -> list[ActionDefinition]:
    """Return what a session offers now: nothing unless it is running. Raise `NotFound`."""
    async with uow() as tx:
        session = await tx.sessions.get(session_id)
        if session.status != Status.RUNNING:
            return []
        return list(await tx.actions.offered(await tx.deployments.origin(session.sgc_id)))


async def list_executions(*, session_id: int, limit: int, uow: Uow) -> list[ActionExecution]:
    """Return what was run on a session, the newest first: 50 unless `limit` says, at most 100. Raise `NotFound`."""
    async with uow() as tx:
        await tx.sessions.get(session_id)
        return list(await tx.actions.executions(session_id=session_id, limit=paging.size(limit)))


async def execute_action(
    *,
    session_id: int,
    action_id: int,
    given: Mapping[str, str],
    triggered_by: str,
    timeout_s: float,
    now: datetime,
    uow: Uow,
    requests: Requests,
) -> Execution:
    """Send an action's command to the console of a running session, and return once its host says that it is written.

    Bad inputs, and a host that refuses, is away or does not answer, are outcomes, not errors: the result tells them.
    What is recorded has no secret of the session's parameters in it; the result is as it is.

    Raises:
        NotFound: there is no such session or action.
        Conflict: the session is not running, or does not offer this action.

    """
    async with uow() as tx:
        server_id, action = await _offered(tx, session_id, action_id)
        secrets = await _secrets(tx, session_id)
        command, status, error = _prepare(action, given)
        names = {field.name for field in action.fields}
        row = await tx.actions.add_execution(
            action,
            session_id=session_id,
            input_values={
                name: parameters.hide(value[:MAX_CHARACTERS], secrets) for name, value in given.items() if name in names
            },
            rendered_command=parameters.hide(command, secrets),
            status=status,
            error_message=parameters.hide(error or OUTCOME_UNKNOWN, secrets),
            triggered_by=triggered_by,
            now=now,
        )
        await tx.commit()
    if error:
        return Execution(row.execution_id, command, error)
    try:
        await write_input(
            session_id=session_id,
            server_id=server_id,
            data=f"{command}\n".encode(),
            timeout_s=timeout_s,
            requests=requests,
        )
    except (Conflict, Unavailable, TimedOut) as refused:
        error = str(refused)
    async with uow() as tx:
        done = await tx.actions.get_execution(row.execution_id)
        done.status = ExecutionStatus.FAILED if error else ExecutionStatus.SUCCESS
        done.error_message = parameters.hide(error, secrets) or None
        await tx.commit()
    return Execution(row.execution_id, command, error)


async def _offered(tx: Transaction, session_id: int, action_id: int) -> tuple[int, ActionDefinition]:
    """Return the session's host, and the action if the session offers it now."""
    session = await tx.sessions.get(session_id)
    if session.status != Status.RUNNING:
        raise Conflict(f"session {session_id} is {session.status}; actions need a running one")
    origin = await tx.deployments.origin(session.sgc_id)
    for action in await tx.actions.offered(origin):
        if action.action_id == action_id:
            return origin.server_id, action
    other = await tx.actions.get(action_id)
    reason = "belongs to something else than its game, config and deployment" if other.enabled else "is disabled"
    raise Conflict(f"session {session_id} does not offer action {action_id} ({other.name}): it {reason}")


async def _secrets(tx: Transaction, session_id: int) -> frozenset[str]:
    """Return the values of a session's parameters that nobody should read in a record."""
    session = await tx.sessions.get(session_id)
    deployment = await tx.deployments.get(session.sgc_id)
    config = await tx.configs.get(deployment.game_config_id)
    return parameters.secrets_of(declared(config), [deployment.parameters, session.parameters])


def _prepare(action: ActionDefinition, given: Mapping[str, str]) -> tuple[str, ExecutionStatus, str]:
    """Return the command, how the attempt stands before anything is sent, and what is wrong with it ("" is nothing)."""
    definition = action.definition
    problem = check_inputs(definition.fields, given)
    if problem:
        return "", ExecutionStatus.VALIDATION_ERROR, str(problem)
    try:
        command = render(definition, given)
    except Invalid as refused:
        return "", ExecutionStatus.FAILED, str(refused)
    if len(command.encode()) >= MAX_INPUT_BYTES:
        text = f"the command would be longer than {MAX_INPUT_BYTES} bytes"
        return "", ExecutionStatus.VALIDATION_ERROR, text
    return command, ExecutionStatus.FAILED, ""


async def _lock_entity(tx: Transaction, wanted: Definition) -> None:
    """Hold the entity that the action belongs to; raise `NotFound`."""
    lock = {"game": tx.games.lock, "game_config": tx.configs.lock, "server_game_config": tx.deployments.lock}
    await lock[wanted.level](wanted.entity_id)
