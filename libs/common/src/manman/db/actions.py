"""Queries about actions, their fields and options, and the record of what was run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, or_, select
from sqlalchemy.orm import selectinload

from manman.db.models import ActionDefinition, ActionExecution, ActionInputField, ActionInputOption
from manman.domain.actions import LEVELS
from manman.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from manman.db.deployments import Origin
    from manman.domain.actions import Definition, ExecutionStatus, Field

_WITH_FIELDS = selectinload(ActionDefinition.fields).selectinload(ActionInputField.options)


class Actions:
    """Actions within one transaction."""

    def __init__(self, database_session: AsyncSession) -> None:
        """Work in this transaction."""
        self._db = database_session

    async def get(self, action_id: int) -> ActionDefinition:
        """Return the action with its fields; raise `NotFound`."""
        row = await self._db.get(ActionDefinition, action_id, options=[_WITH_FIELDS])
        if row is None:
            raise NotFound("action", action_id)
        return row

    async def lock(self, action_id: int) -> ActionDefinition:
        """Return the action with its fields, locked until the end of the transaction; raise `NotFound`."""
        query = select(ActionDefinition).where(ActionDefinition.action_id == action_id).options(_WITH_FIELDS)
        row = await self._db.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))
        if row is None:
            raise NotFound("action", action_id)
        return row

    async def list(self, *, level: str = "", entity_id: int = 0) -> Sequence[ActionDefinition]:
        """Return the actions of an entity, or all, in the order shown; without their fields."""
        query = select(ActionDefinition).order_by(ActionDefinition.display_order, ActionDefinition.action_id)
        if level:
            query = query.where(ActionDefinition.definition_level == level, ActionDefinition.entity_id == entity_id)
        return (await self._db.scalars(query)).all()

    async def offered(self, origin: Origin) -> Sequence[ActionDefinition]:
        """Return what a session of this origin offers: the enabled actions of its game, config and deployment."""
        entities = zip(LEVELS, (origin.game_id, origin.game_config_id, origin.sgc_id), strict=True)
        query = (
            select(ActionDefinition)
            .where(
                ActionDefinition.enabled,
                or_(
                    *(
                        and_(ActionDefinition.definition_level == level, ActionDefinition.entity_id == entity_id)
                        for level, entity_id in entities
                    )
                ),
            )
            .order_by(
                case({level: rank for rank, level in enumerate(LEVELS)}, value=ActionDefinition.definition_level),
                ActionDefinition.display_order,
                ActionDefinition.action_id,
            )
            .options(_WITH_FIELDS)
        )
        return (await self._db.scalars(query)).all()

    async def save(self, wanted: Definition) -> ActionDefinition:
        """Insert the action, or replace the one of the same level, entity and name with its fields.

        Lock the entity first: then nobody inserts the same action meanwhile.
        """
        query = select(ActionDefinition).where(
            ActionDefinition.definition_level == wanted.level,
            ActionDefinition.entity_id == wanted.entity_id,
            ActionDefinition.name == wanted.name,
        )
        row = await self._db.scalar(query.options(_WITH_FIELDS).with_for_update(key_share=True))
        if row is not None:
            await self.replace(row, wanted)
            return row
        row = ActionDefinition(**_columns(wanted), fields=[_field_row(field) for field in wanted.fields])
        self._db.add(row)
        await self._db.flush()
        return row

    async def replace(self, row: ActionDefinition, wanted: Definition) -> None:
        """Replace everything about a loaded action; its fields are new rows. Raise `AlreadyExists` for its name."""
        for column, value in _columns(wanted).items():
            setattr(row, column, value)
        row.fields.clear()
        await self._db.flush()
        row.fields.extend(_field_row(field) for field in wanted.fields)
        await self._db.flush()

    async def delete(self, action_id: int) -> bool:
        """Delete the action with its fields; tell whether it was there. What was run stays on record."""
        query = (
            delete(ActionDefinition)
            .where(ActionDefinition.action_id == action_id)
            .returning(ActionDefinition.action_id)
        )
        return await self._db.scalar(query) is not None

    async def add_execution(
        self,
        action: ActionDefinition,
        *,
        session_id: int,
        input_values: Mapping[str, str],
        rendered_command: str,
        status: ExecutionStatus,
        error_message: str,
        triggered_by: str,
        now: datetime,
    ) -> ActionExecution:
        """Record an attempt to run the action."""
        row = ActionExecution(
            action_id=action.action_id,
            action_name=action.name,
            session_id=session_id,
            input_values=dict(input_values),
            rendered_command=rendered_command,
            status=status,
            error_message=error_message or None,
            triggered_by=triggered_by[:200] or None,
            executed_at=now,
        )
        self._db.add(row)
        await self._db.flush()
        return row

    async def get_execution(self, execution_id: int) -> ActionExecution:
        """Return the record of an attempt; raise `NotFound`."""
        row = await self._db.get(ActionExecution, execution_id)
        if row is None:
            raise NotFound("action execution", execution_id)
        return row

    async def executions(self, *, session_id: int, limit: int) -> Sequence[ActionExecution]:
        """Return what was run on a session, the newest first."""
        query = (
            select(ActionExecution)
            .where(ActionExecution.session_id == session_id)
            .order_by(ActionExecution.executed_at.desc(), ActionExecution.execution_id.desc())
            .limit(limit)
        )
        return (await self._db.scalars(query)).all()


def _columns(wanted: Definition) -> dict[str, Any]:
    return {
        "definition_level": wanted.level,
        "entity_id": wanted.entity_id,
        "name": wanted.name,
        "label": wanted.label,
        "description": wanted.description or None,
        "command_template": wanted.command_template,
        "display_order": wanted.display_order,
        "group_name": wanted.group_name or None,
        "button_style": wanted.button_style,
        "icon": wanted.icon or None,
        "requires_confirmation": wanted.requires_confirmation,
        "confirmation_message": wanted.confirmation_message or None,
        "enabled": wanted.enabled,
    }


def _field_row(field: Field) -> ActionInputField:
    return ActionInputField(
        name=field.name,
        label=field.label,
        field_type=field.type,
        required=field.required,
        placeholder=field.placeholder or None,
        help_text=field.help_text or None,
        default_value=field.default_value or None,
        display_order=field.display_order,
        pattern=field.pattern or None,
        min_value=None if field.min_value is None else Decimal(repr(field.min_value)),
        max_value=None if field.max_value is None else Decimal(repr(field.max_value)),
        min_length=field.min_length,
        max_length=field.max_length,
        options=[
            ActionInputOption(
                value=option.value,
                label=option.label,
                display_order=option.display_order,
                is_default=option.is_default,
            )
            for option in field.options
        ],
    )
