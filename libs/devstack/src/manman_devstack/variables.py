"""The environment variables that a class of settings reads, as data: for the page and the tests about them.

There are two kinds of such classes: the fragments of `manman.settings`, and dataclasses whose fields say what they
hold by `msgspec.Meta`. Nothing else needs to know which is which. What the variables are set to is not looked at.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from manman.settings import Fragment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Variable:
    """One variable: its name, other names that do the same, and its default and meaning in Markdown."""

    name: str
    others: tuple[str, ...]
    default: str
    required: bool
    meaning: str


def variables(settings: type[Any]) -> Mapping[str, Variable]:
    """Return the variables of a class of settings, by the names of its fields."""
    if issubclass(settings, Fragment):
        return {name: _of_fragment(name, field) for name, field in settings.model_fields.items()}
    hints = get_type_hints(settings, include_extras=True)
    return {field.name: _of_dataclass(field, hints[field.name]) for field in dataclasses.fields(settings)}


def _of_fragment(name: str, field: FieldInfo) -> Variable:
    choices = getattr(field.validation_alias, "choices", [])
    variable = field.validation_alias if isinstance(field.validation_alias, str) else name
    return Variable(
        name=variable.upper(),
        others=tuple(choice.upper() for choice in choices if isinstance(choice, str) and choice != name),
        default="computed" if _is_computed(field) else _shown(field.get_default(call_default_factory=False)),
        required=field.is_required(),
        meaning=field.description or "",
    )


def _of_dataclass(field: dataclasses.Field[object], hint: Any) -> Variable:  # noqa: ANN401 - a type with its marks
    return Variable(
        name=field.name.upper(),
        others=(),
        default=_shown(field.default),
        required=field.default is dataclasses.MISSING,
        meaning=next(mark.description for mark in get_args(hint)[1:]),
    )


def _is_computed(field: FieldInfo) -> bool:
    return field.default is PydanticUndefined and field.default_factory is not None


def _shown(default: object) -> str:
    if default in (PydanticUndefined, dataclasses.MISSING):
        return "**required**"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default in (None, "", (), frozenset()):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple | frozenset | list | set):
        return f"`{','.join(str(item) for item in default)}`"
    return f"`{default}`"
