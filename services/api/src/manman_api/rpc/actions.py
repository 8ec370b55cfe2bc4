"""The RPCs about actions."""

from __future__ import annotations

from manman.rpc.chain import current_subject
from manman.v1 import actions_pb2 as pb
from manman_api.handlers import actions
from manman_api.rpc import action_messages as messages
from manman_api.rpc.parts import Servicer


class ActionsRpc(Servicer):
    """Actions: read, add, replace, remove, run, and what was run."""

    async def CreateActionDefinition(
        self, request: pb.CreateActionDefinitionRequest, context: object
    ) -> pb.CreateActionDefinitionResponse:
        """Add an action, or replace the one of its name."""
        action_id = await actions.save_action(wanted=messages.wanted(request), uow=self._parts.uow)
        return pb.CreateActionDefinitionResponse(action_id=action_id)

    async def UpdateActionDefinition(
        self, request: pb.UpdateActionDefinitionRequest, context: object
    ) -> pb.UpdateActionDefinitionResponse:
        """Replace an action."""
        action_id = request.action.action_id
        await actions.update_action(action_id=action_id, wanted=messages.wanted(request), uow=self._parts.uow)
        return pb.UpdateActionDefinitionResponse(success=True)

    async def DeleteActionDefinition(
        self, request: pb.DeleteActionDefinitionRequest, context: object
    ) -> pb.DeleteActionDefinitionResponse:
        """Remove an action."""
        await actions.delete_action(action_id=request.action_id, uow=self._parts.uow)
        return pb.DeleteActionDefinitionResponse(success=True)

    async def ListActionDefinitions(
        self, request: pb.ListActionDefinitionsRequest, context: object
    ) -> pb.ListActionDefinitionsResponse:
        """Answer with the actions of the first filter that is there, or with all."""
        level, entity_id = "", 0
        if request.HasField("game_id"):
            level, entity_id = "game", request.game_id
        elif request.HasField("config_id"):
            level, entity_id = "game_config", request.config_id
        elif request.HasField("sgc_id"):
            level, entity_id = "server_game_config", request.sgc_id
        rows = await actions.list_actions(level=level, entity_id=entity_id, uow=self._parts.uow)
        return pb.ListActionDefinitionsResponse(actions=[messages.action(row, with_fields=False) for row in rows])

    async def GetActionDefinition(
        self, request: pb.GetActionDefinitionRequest, context: object
    ) -> pb.GetActionDefinitionResponse:
        """Answer with one action."""
        action = messages.action(await actions.get_action(action_id=request.action_id, uow=self._parts.uow))
        return pb.GetActionDefinitionResponse(action=action, input_fields=action.input_fields)

    async def GetSessionActions(
        self, request: pb.GetSessionActionsRequest, context: object
    ) -> pb.GetSessionActionsResponse:
        """Answer with what a session offers now."""
        rows = await actions.session_actions(session_id=request.session_id, uow=self._parts.uow)
        return pb.GetSessionActionsResponse(actions=map(messages.action, rows))

    async def ListActionExecutions(
        self, request: pb.ListActionExecutionsRequest, context: object
    ) -> pb.ListActionExecutionsResponse:
        """Answer with what was run on a session, the newest first."""
        rows = await actions.list_executions(session_id=request.session_id, limit=request.limit, uow=self._parts.uow)
        return pb.ListActionExecutionsResponse(executions=map(messages.execution, rows))

    async def ExecuteAction(self, request: pb.ExecuteActionRequest, context: object) -> pb.ExecuteActionResponse:
        """Run an action."""
        done = await actions.execute_action(
            session_id=request.session_id,
            action_id=request.action_id,
            given=dict(request.input_values),
            triggered_by=current_subject(),
            timeout_s=self._parts.input_timeout_s,
            now=self._parts.now(),
            uow=self._parts.uow,
            requests=self._parts.requests,
        )
        return pb.ExecuteActionResponse(
            rendered_command=done.command,
            success=not done.error,
            execution_id=done.execution_id,
            error_message=done.error,
        )
