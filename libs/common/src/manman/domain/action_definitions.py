"""What is wrong with an action that somebody wants saved."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from manman.domain.action_inputs import complaint, text_complaint
from manman.domain.action_templates import Template
from manman.domain.actions import BUTTON_STYLES, CHOICES, FIELD_TYPES, LEVELS
from manman.domain.patterns import pattern_complaint
from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manman.domain.actions import Definition, Field

MAX_FIELDS = 50
MAX_OPTIONS = 500
"""Of one input."""

MAX_OPTION_CHARACTERS = 500
"""Of one option's value."""

_NAME = re.compile(r"[a-z0-9_]{1,100}")


def check_definition(wanted: Definition) -> None:
    """Raise `Invalid` with everything that is wrong with an action."""
    problems = []
    if wanted.level not in LEVELS:
        problems.append(Problem("action.definition_level", f"use one of {', '.join(LEVELS)}, not {wanted.level!r}"))
    if wanted.entity_id <= 0:
        problems.append(Problem("action.entity_id", "name the game, config or deployment that it belongs to"))
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
        if field.type not in FIELD_TYPES:
            problems.append(Problem(f"{at}.field_type", f"use one of {', '.join(FIELD_TYPES)}, not {field.type!r}"))
            continue
        found = [*_limit_problems(field, at), *_option_problems(field, at)]
        problems += found or _default_problems(field, at)
    return problems


def _limit_problems(field: Field, at: str) -> list[Problem]:
    problems = []
    unusable = pattern_complaint(field.pattern)
    if unusable:
        problems.append(Problem(f"{at}.pattern", unusable))
    for name, limit in (("min_value", field.min_value), ("max_value", field.max_value)):
        if limit is not None and not math.isfinite(limit):
            problems.append(Problem(f"{at}.{name}", "write a number, or 0 for no limit"))
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
    problems = []
    for index, value in enumerate(values):
        text = text_complaint(value, max_characters=MAX_OPTION_CHARACTERS)
        if value in values[:index]:
            text = f"{value!r} is there twice; remove one"
        if text:
            problems.append(Problem(f"{at}.options[{index}].value", text))
    return problems


def _default_problems(field: Field, at: str) -> list[Problem]:
    text = complaint(field, field.default_value) if field.default_value else None
    return [Problem(f"{at}.default_value", text)] if text else []
