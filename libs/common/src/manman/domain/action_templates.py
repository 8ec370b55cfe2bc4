"""Action templates: the command of an action, with places for what somebody fills in.

    {{.name}}                                   the value of an input
    {{if .name}} ... {{else}} ... {{end}}       one text or the other; `{{else}}` may be left out; ifs nest

Inside the braces blanks are free. `{{- ` cuts the white space before it and ` -}}` the white space behind it. This is
the part of Go's text/template that actions use (https://pkg.go.dev/text/template); everything else is refused when an
action is saved. Values are inserted as they are, and never read as a template.

The dot keeps this language apart from the placeholders of configs (`manman.domain.rendering`).
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, TypeAlias

from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

FIELD = "command_template"
"""The field that problems are about."""

MAX_CHARACTERS = 16_384
MAX_DEPTH = 10
"""Ifs inside ifs."""

_SPACE = " \t\r\n"
_TAG = re.compile(r"\{\{(?P<trim_before>-(?=[ \t\r\n]))?(?P<inside>[^{}]*?)(?P<trim_after>(?<=[ \t\r\n])-)?\}\}")
_VALUE = re.compile(r"\.([A-Za-z0-9_]+)")
_IF = re.compile(r"if[ \t\r\n]+\.([A-Za-z0-9_]+)")


@dataclasses.dataclass(frozen=True, slots=True)
class _Value:
    """The place of an input's value."""

    name: str


@dataclasses.dataclass(slots=True)
class _Choice:
    """An if: its parts when the input is set, and when it is not."""

    name: str
    if_set: list[_Part] = dataclasses.field(default_factory=list)
    otherwise: list[_Part] | None = None


_Part: TypeAlias = "str | _Value | _Choice"


class Template:
    """A template that was read without complaint."""

    def __init__(self, text: str) -> None:
        """Read `text`; raise `Invalid` with what is wrong with it, and where."""
        if len(text) > MAX_CHARACTERS:
            raise _refused(f"use at most {MAX_CHARACTERS} characters, not {len(text)}")
        self._parts = _parse(text)

    def names(self) -> set[str]:
        """Return the inputs that the template asks for."""
        return set(_names(self._parts))

    def render(self, values: Mapping[str, str], *, unset: Collection[str] = ()) -> str:
        """Return the command. An input without a value is empty.

        `{{if}}` takes its first part unless the value is empty or the input is one of `unset`.
        """
        return "".join(_render(self._parts, values, unset))


def _parse(text: str) -> list[_Part]:
    """Build the parts: one pass over the tags, with a stack of the ifs that are open."""
    root: list[_Part] = []
    stack: list[_Choice] = []
    end = 0
    cut_start = False
    while (start := text.find("{{", end)) >= 0:
        tag = _TAG.match(text, start)
        if tag is None:
            raise _refused(f"{text[start : start + 20]!r} has no }}}} that ends it, or braces inside")
        _add_text(_open_list(stack, root), text[end:start], cut_start=cut_start, cut_end=bool(tag["trim_before"]))
        _add_tag(stack, root, tag)
        end = tag.end()
        cut_start = bool(tag["trim_after"])
    if stack:
        raise _refused(f"{{{{if .{stack[-1].name}}}}} has no {{{{end}}}}")
    _add_text(root, text[end:], cut_start=cut_start, cut_end=False)
    return root


def _add_tag(stack: list[_Choice], root: list[_Part], tag: re.Match[str]) -> None:
    inside = tag["inside"].strip(_SPACE)
    if found := _VALUE.fullmatch(inside):
        _open_list(stack, root).append(_Value(found[1]))
    elif found := _IF.fullmatch(inside):
        if len(stack) == MAX_DEPTH:
            raise _refused(f"use at most {MAX_DEPTH} ifs inside each other")
        choice = _Choice(found[1])
        _open_list(stack, root).append(choice)
        stack.append(choice)
    elif inside == "else" and stack and stack[-1].otherwise is None:
        stack[-1].otherwise = []
    elif inside == "end" and stack:
        stack.pop()
    elif inside in ("else", "end"):
        raise _refused(f"{tag[0]} has no {{{{if .name}}}} before it")
    else:
        text = "use {{.name}}, or {{if .name}} with {{else}} and {{end}}"
        raise _refused(f"{tag[0]!r} is not understood; {text}")


def _open_list(stack: list[_Choice], root: list[_Part]) -> list[_Part]:
    if not stack:
        return root
    return stack[-1].if_set if stack[-1].otherwise is None else stack[-1].otherwise


def _add_text(target: list[_Part], text: str, *, cut_start: bool, cut_end: bool) -> None:
    if cut_start:
        text = text.lstrip(_SPACE)
    if cut_end:
        text = text.rstrip(_SPACE)
    if text:
        target.append(text)


def _names(parts: Iterable[_Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, _Value):
            yield part.name
        elif isinstance(part, _Choice):
            yield part.name
            yield from _names(part.if_set)
            yield from _names(part.otherwise or ())


def _render(parts: Iterable[_Part], values: Mapping[str, str], unset: Collection[str]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Value):
            yield values.get(part.name, "")
        elif values.get(part.name) and part.name not in unset:
            yield from _render(part.if_set, values, unset)
        else:
            yield from _render(part.otherwise or (), values, unset)


def _refused(text: str) -> Invalid:
    return Invalid([Problem(FIELD, text)])
