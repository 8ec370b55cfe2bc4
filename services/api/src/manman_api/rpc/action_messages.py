"""Actions as messages: requests to what the domain checks, rows to answers. 0 as a limit means: there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.domain.actions import Definition, Field, GivenField, GivenOption, Option, give_options
from manman.v1 import actions_pb2 as pb
from manman_api.rpc.present import seconds

if TYPE_CHECKING:
    from manman.db.models import ActionDefinition, ActionExecution, ActionInputField, ActionInputOption


def wanted(request: pb.CreateActionDefinitionRequest | pb.UpdateActionDefinitionRequest) -> Definition:
    """Return the action that a request describes.

    Its inputs stand beside it, or, as in answers, in it; choices stand beside the inputs or in them. Raises `Invalid`
    for a choice that names no input.
    """
    message = request.action
    fields = [GivenField(one.field_id, _field(one)) for one in request.input_fields or message.input_fields]
    options = [GivenOption(one.field_id, _option(one)) for one in request.input_options]
    return Definition(
        level=message.definition_level,
        entity_id=message.entity_id,
        name=message.name,
        label=message.label,
        description=message.description,
        command_template=message.command_template,
        display_order=message.display_order,
        group_name=message.group_name,
        button_style=message.button_style or "primary",
        icon=message.icon,
        requires_confirmation=message.requires_confirmation,
        confirmation_message=message.confirmation_message,
        enabled=message.enabled,
        fields=give_options(fields, options),
    )


def _field(message: pb.ActionInputField) -> Field:
    return Field(
        name=message.name,
        label=message.label,
        type=message.field_type,
        required=message.required,
        placeholder=message.placeholder,
        help_text=message.help_text,
        default_value=message.default_value,
        display_order=message.display_order,
        pattern=message.pattern,
        min_value=message.min_value or None,
        max_value=message.max_value or None,
        min_length=message.min_length or None,
        max_length=message.max_length or None,
        options=tuple(_option(one) for one in message.options),
    )


def _option(message: pb.ActionInputOption) -> Option:
    return Option(
        value=message.value,
        label=message.label,
        display_order=message.display_order,
        is_default=message.is_default,
    )


def action(row: ActionDefinition, *, with_fields: bool = True) -> pb.ActionDefinition:
    """Present an action."""
    return pb.ActionDefinition(
        action_id=row.action_id,
        definition_level=row.definition_level,
        entity_id=row.entity_id,
        name=row.name,
        label=row.label,
        description=row.description or "",
        command_template=row.command_template,
        display_order=row.display_order,
        group_name=row.group_name or "",
        button_style=row.button_style,
        icon=row.icon or "",
        requires_confirmation=row.requires_confirmation,
        confirmation_message=row.confirmation_message or "",
        enabled=row.enabled,
        input_fields=[_present_field(field) for field in row.fields] if with_fields else (),
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )


def _present_field(row: ActionInputField) -> pb.ActionInputField:
    return pb.ActionInputField(
        field_id=row.field_id,
        action_id=row.action_id,
        name=row.name,
        label=row.label,
        placeholder=row.placeholder or "",
        help_text=row.help_text or "",
        field_type=row.field_type,
        required=row.required,
        default_value=row.default_value or "",
        display_order=row.display_order,
        pattern=row.pattern or "",
        min_value=float(row.min_value or 0),
        max_value=float(row.max_value or 0),
        min_length=row.min_length or 0,
        max_length=row.max_length or 0,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
        options=[_present_option(option) for option in row.options],
    )


def _present_option(row: ActionInputOption) -> pb.ActionInputOption:
    return pb.ActionInputOption(
        option_id=row.option_id,
        field_id=row.field_id,
        value=row.value,
        label=row.label,
        display_order=row.display_order,
        is_default=row.is_default,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )


def execution(row: ActionExecution) -> pb.ActionExecution:
    """Present the record of an attempt."""
    return pb.ActionExecution(
        execution_id=row.execution_id,
        action_id=row.action_id or 0,
        session_id=row.session_id,
        input_values=row.input_values,
        rendered_command=row.rendered_command,
        status=row.status,
        error_message=row.error_message or "",
        triggered_by=row.triggered_by or "",
        executed_at=seconds(row.executed_at),
        action_name=row.action_name,
    )
