"""Actions: console commands with inputs, offered as buttons while a session runs.

An action belongs to a game, a config or a deployment (its *level*); a session offers those of its own three.

What may be saved is in `manman.domain.action_definitions`, what may be filled in in `manman.domain.action_inputs`, the
language of commands in `manman.domain.action_templates`.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING

from manman.domain.action_templates import Template
from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEVELS = ("game", "game_config", "server_game_config")
"""In the order in which a session's actions are shown."""

BUTTON_STYLES = ("primary", "secondary", "success", "danger", "warning", "info", "light", "dark")
FIELD_TYPES = ("text", "number", "select", "textarea", "checkbox", "radio", "email", "url")
CHOICES = ("select", "radio")
"""Field types whose value is one of the options."""

CHECKED, UNCHECKED = "true", "false"


class ExecutionStatus(StrEnum):
    """How an attempt to run an action ended: sent, not sent for want of good inputs, or not sent at all."""

    SUCCESS = "success"
    VALIDATION_ERROR = "validation_error"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of a select or radio input. `is_default` marks what a form shows first."""

    value: str
    label: str = ""
    display_order: int = 0
    is_default: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input of an action; limits that are None are not checked, lengths count characters."""

    name: str
    label: str = ""
    type: str = "text"
    required: bool = False
    placeholder: str = ""
    help_text: str = ""
    default_value: str = ""
    display_order: int = 0
    pattern: str = ""
    min_value: float | None = None
    max_value: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An action as somebody wants it saved."""

    level: str
    entity_id: int
    name: str
    label: str = ""
    description: str = ""
    command_template: str
    display_order: int = 0
    group_name: str = ""
    button_style: str = "primary"
    icon: str = ""
    requires_confirmation: bool = False
    confirmation_message: str = ""
    enabled: bool = True
    fields: tuple[Field, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class GivenField:
    """An input of a request: `field_id` is 0 for one that is new, `field.options` are those that stand in it."""

    field_id: int
    field: Field


@dataclasses.dataclass(frozen=True, slots=True)
class GivenOption:
    """A choice that stands beside the inputs of a request; what `field_id` means depends on the others."""

    field_id: int
    option: Option


def give_options(fields: Sequence[GivenField], options: Sequence[GivenOption]) -> tuple[Field, ...]:
    """Return the inputs with their choices.

    Clients say in four ways which choice is whose; the first that applies counts:

    1. an input with choices in it has those, and no others;
    2. a choice names the id of an input;
    3. no input has an id and some choice names a number above 0: numbers are positions in the list, from 0;
    4. all choices name 0: every select and radio input gets them all.

    Raises `Invalid` for a choice that names no input.
    """
    ids = {given.field_id for given in fields if given.field_id}
    named = [given.field_id for given in options]
    found: list[list[Option]] = [list(given.field.options) for given in fields]
    if not any(named):
        for index, given in enumerate(fields):
            if not given.field.options and given.field.type in CHOICES:
                found[index] = [choice.option for choice in options]
        return _with_options(fields, found)
    places = (
        {given.field_id: index for index, given in enumerate(fields) if given.field_id}
        if ids
        else {index: index for index in range(len(fields))}
    )
    problems = []
    for number, choice in enumerate(options):
        place = places.get(choice.field_id)
        if place is None:
            problems.append(Problem(f"input_options[{number}].field_id", f"{choice.field_id} names no input"))
        elif not fields[place].field.options:
            found[place].append(choice.option)
    if problems:
        raise Invalid(problems)
    return _with_options(fields, found)


def render(wanted: Definition, given: Mapping[str, str]) -> str:
    """Return the command, without a line end, for inputs that were checked.

    An input that was left out has its default. A checkbox that is not checked counts as empty in an `{{if}}`.
    """
    values = {field.name: given.get(field.name, field.default_value) for field in wanted.fields}
    unset = {field.name for field in wanted.fields if field.type == "checkbox" and values[field.name] == UNCHECKED}
    return Template(wanted.command_template).render(values, unset=unset)


def _with_options(fields: Sequence[GivenField], options: Sequence[Iterable[Option]]) -> tuple[Field, ...]:
    return tuple(
        dataclasses.replace(given.field, options=tuple(choices)) for given, choices in zip(fields, options, strict=True)
    )
