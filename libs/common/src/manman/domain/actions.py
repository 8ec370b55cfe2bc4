"""Actions: console commands with inputs, offered as buttons while a session runs.

An action belongs to a game, a config or a deployment (its *level*); a session offers those of its own three. What an
input may hold is in `manman.domain.action_inputs`, the language of commands in `manman.domain.action_templates`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from manman.domain.action_inputs import CHOICES, TYPES, UNCHECKED, Field, Option, complaint, pattern_complaint
from manman.domain.action_templates import Template
from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEVELS = ("game", "game_config", "server_game_config")
"""In the order in which a session's actions are shown."""

BUTTON_STYLES = ("primary", "secondary", "success", "danger", "warning", "info", "light", "dark")
MAX_FIELDS = 50
MAX_OPTIONS = 500
"""Of one input."""

_NAME = re.compile(r"[a-z0-9_]{1,100}")


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


def check_definition(wanted: Definition) -> None:
    """Raise `Invalid` with everything that is wrong with an action."""
    problems = []
    if wanted.level not in LEVELS:
        problems.append(Problem("action.definition_level", f"use one of {', '.join(LEVELS)}, not {wanted.level!r}"))
    if not _NAME.fullmatch(wanted.name):
        problems.append(Problem("action.name", f"use lower-case letters, digits and _, not {wanted.name!r}"))
    if wanted.button_style not in BUTTON_STYLES:
        text = f"use one of {', '.join(BUTTON_STYLES)}, not {wanted.button_style!r}"
        problems.append(Problem("action.button_style", text))
    problems += _template_problems(wanted)
    if len(wanted.fields) > MAX_FIELDS:
        problems.append(Problem("input_fields", f"use at most {MAX_FIELDS} inputs, not {len(wanted.fields)}"))
    else:
        problems += _fields_problems(wanted.fields)
    if problems:
        raise Invalid(problems)


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


def _template_problems(wanted: Definition) -> list[Problem]:
    if not wanted.command_template.strip():
        return [Problem("action.command_template", "write the command that is sent to the game")]
    try:
        names = Template(wanted.command_template).names()
    except Invalid as refused:
        return [Problem(f"action.{problem.field}", problem.message) for problem in refused.problems]
    unknown = sorted(names - {field.name for field in wanted.fields})
    return [
        Problem("action.command_template", f"{{{{.{name}}}}} is no input of this action; add it or take it out")
        for name in unknown
    ]


def _fields_problems(fields: Sequence[Field]) -> list[Problem]:
    problems = []
    seen: set[str] = set()
    for index, field in enumerate(fields):
        at = f"input_fields[{index}]"
        if not _NAME.fullmatch(field.name):
            problems.append(Problem(f"{at}.name", f"use lower-case letters, digits and _, not {field.name!r}"))
        if field.name in seen:
            problems.append(Problem(f"{at}.name", f"{field.name} is there twice; remove one"))
        seen.add(field.name)
        if field.type not in TYPES:
            problems.append(Problem(f"{at}.field_type", f"use one of {', '.join(TYPES)}, not {field.type!r}"))
            continue
        found = [*_limit_problems(field, at), *_option_problems(field, at)]
        problems += found or _default_problems(field, at)
    return problems


def _limit_problems(field: Field, at: str) -> list[Problem]:
    problems = []
    unusable = pattern_complaint(field.pattern)
    if unusable:
        problems.append(Problem(f"{at}.pattern", unusable))
    if field.min_value is not None and field.max_value is not None and field.min_value > field.max_value:
        problems.append(Problem(f"{at}.min_value", f"must not be above max_value {field.max_value:g}"))
    if field.min_length is not None and field.max_length is not None and field.min_length > field.max_length:
        problems.append(Problem(f"{at}.min_length", f"must not be above max_length {field.max_length}"))
    for name, length in (("min_length", field.min_length), ("max_length", field.max_length)):
        if length is not None and length < 0:
            problems.append(Problem(f"{at}.{name}", f"use characters, or 0 for no limit, not {length}"))
    return problems


def _option_problems(field: Field, at: str) -> list[Problem]:
    if field.type in CHOICES and not field.options:
        return [Problem(f"{at}.options", f"give a {field.type} input something to choose from")]
    if len(field.options) > MAX_OPTIONS:
        return [Problem(f"{at}.options", f"use at most {MAX_OPTIONS} options, not {len(field.options)}")]
    values = [option.value for option in field.options]
    return [
        Problem(f"{at}.options[{index}].value", f"{value!r} is there twice; remove one")
        for index, value in enumerate(values)
        if value in values[:index]
    ]


def _default_problems(field: Field, at: str) -> list[Problem]:
    text = complaint(field, field.default_value) if field.default_value else None
    return [Problem(f"{at}.default_value", text)] if text else []
