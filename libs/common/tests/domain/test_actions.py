import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.action_definitions import check_definition
from manman.domain.action_inputs import complaint
from manman.domain.actions import Definition, Field, GivenField, GivenOption, Option, give_options, render
from manman.errors import Invalid

A, B = Option(value="a"), Option(value="b")
CHANGE_MAP = Definition(
    level="game",
    entity_id=1,
    name="change_map",
    command_template="changelevel {{.map}}",
    fields=(Field(name="map", type="select", required=True, options=(A, B)),),
)


def given_field(name: str, kind: str = "select", field_id: int = 0, *options: Option) -> GivenField:
    return GivenField(field_id, Field(name=name, type=kind, options=options))


def choices(fields: list[GivenField], *options: tuple[int, Option]) -> dict[str, str]:
    """Return the values of each input, run together."""
    found = give_options(fields, [GivenOption(number, option) for number, option in options])
    return {field.name: "".join(option.value for option in field.options) for field in found}


@pytest.mark.parametrize(
    ("fields", "options", "found"),
    [
        ([given_field("x", "select", 0, A)], [], {"x": "a"}),
        ([given_field("x"), given_field("y", "text")], [(0, A), (0, B)], {"x": "ab", "y": ""}),
        ([given_field("x"), given_field("y", "radio")], [(0, A)], {"x": "a", "y": "a"}),
        ([given_field("x", "select", 0, B), given_field("y")], [(0, A)], {"x": "b", "y": "a"}),
        ([given_field("x", "text"), given_field("y")], [(1, A), (1, B)], {"x": "", "y": "ab"}),
        ([given_field("x"), given_field("y")], [(0, A), (1, B)], {"x": "a", "y": "b"}),
        ([given_field("x", "select", 7), given_field("y", "select", 5)], [(5, A), (7, B)], {"x": "b", "y": "a"}),
        ([given_field("x", "select", 7), given_field("y")], [(7, A)], {"x": "a", "y": ""}),
        ([given_field("x", "select", 7)], [(0, A)], {"x": "a"}),
        ([given_field("x", "select", 1), given_field("y", "select", 2)], [(1, A), (2, B)], {"x": "a", "y": "b"}),
        ([given_field("x", "select", 7, A)], [(7, B)], {"x": "a"}),
        ([], [], {}),
    ],
)
def test_choices_find_their_input(fields: list[GivenField], options: list[Any], found: dict[str, str]) -> None:
    assert choices(fields, *options) == found


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ([given_field("x")], [(1, A)]),
        ([given_field("x")], [(-1, A)]),
        ([given_field("x", "select", 7)], [(7, A), (8, B)]),
        ([given_field("x", "select", 7)], [(7, A), (0, B)]),
        ([], [(1, A)]),
    ],
)
def test_a_choice_that_names_no_input_is_refused(fields: list[GivenField], options: list[Any]) -> None:
    with pytest.raises(Invalid) as refused:
        choices(fields, *options)
    assert refused.value.problems[-1].field == f"input_options[{len(options) - 1}].field_id"


def test_a_sound_action_passes() -> None:
    check_definition(CHANGE_MAP)
    check_definition(dataclasses.replace(CHANGE_MAP, command_template="{{if .map}}{{.map}}{{end}}\nsave"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"level": "session"}, "action.definition_level"),
        ({"level": ""}, "action.definition_level"),
        ({"name": ""}, "action.name"),
        ({"name": "Change map"}, "action.name"),
        ({"name": "x\n"}, "action.name"),
        ({"button_style": "loud"}, "action.button_style"),
        ({"command_template": " "}, "action.command_template"),
        ({"command_template": "{{.map"}, "action.command_template"),
        ({"command_template": "{{.mapp}}"}, "action.command_template"),
        ({"command_template": "{{if .other}}x{{end}}"}, "action.command_template"),
        ({"fields": ()}, "action.command_template"),
    ],
)
def test_what_is_wrong_with_an_action_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_definition(dataclasses.replace(CHANGE_MAP, **changes))
    assert [problem.field for problem in refused.value.problems] == [field]


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"name": "Map"}, "name"),
        ({"type": "colour"}, "field_type"),
        ({"pattern": "("}, "pattern"),
        ({"min_value": 3, "max_value": 2}, "min_value"),
        ({"min_length": 3, "max_length": 2}, "min_length"),
        ({"max_length": -1}, "max_length"),
        ({"type": "select"}, "options"),
        ({"type": "radio"}, "options"),
        ({"type": "select", "options": (A, A)}, "options[1].value"),
        ({"type": "select", "options": (A, Option(value="b\nquit"))}, "options[1].value"),
        ({"type": "select", "options": (Option(value="x" * 501),)}, "options[0].value"),
        ({"type": "number", "min_value": float("nan")}, "min_value"),
        ({"type": "number", "max_value": float("inf")}, "max_value"),
        ({"type": "number", "default_value": "many"}, "default_value"),
        ({"default_value": "a\nb"}, "default_value"),
        ({"type": "select", "options": (A,), "default_value": "b"}, "default_value"),
    ],
)
def test_what_is_wrong_with_an_input_is_named(columns: dict[str, Any], field: str) -> None:
    wanted = Definition(
        level="game", entity_id=1, name="n", command_template="x", fields=(Field(**{"name": "f", **columns}),)
    )
    with pytest.raises(Invalid) as refused:
        check_definition(wanted)
    assert [problem.field for problem in refused.value.problems] == [f"input_fields[0].{field}"]


def test_all_problems_come_at_once() -> None:
    wanted = Definition(
        level="",
        entity_id=1,
        name="",
        command_template="{{",
        fields=(Field(name="a"), Field(name="a"), Field(name="b", pattern="(")),
    )
    with pytest.raises(Invalid) as refused:
        check_definition(wanted)
    assert [problem.field for problem in refused.value.problems] == [
        "action.definition_level",
        "action.name",
        "action.command_template",
        "input_fields[1].name",
        "input_fields[2].pattern",
    ]


def test_fifty_inputs_are_enough() -> None:
    wanted = dataclasses.replace(CHANGE_MAP, fields=tuple(Field(name=f"f{number}") for number in range(51)))
    with pytest.raises(Invalid, match="at most 50 inputs"):
        check_definition(dataclasses.replace(wanted, command_template="x"))


def test_what_was_left_out_has_its_default_and_an_unchecked_box_is_empty_in_an_if() -> None:
    wanted = Definition(
        level="game",
        entity_id=1,
        name="say",
        command_template="say {{.who}}: {{.text}}{{if .loud}}!{{end}} {{.loud}}",
        fields=(
            Field(name="who", default_value="all"),
            Field(name="text"),
            Field(name="loud", type="checkbox", default_value="true"),
        ),
    )
    assert render(wanted, {}) == "say all: ! true"
    assert render(wanted, {"who": "", "text": "hi", "loud": "false", "other": "x"}) == "say : hi false"


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text()))
def test_a_command_from_checked_inputs_is_one_line(given: dict[str, str]) -> None:
    fields = (Field(name="a"), Field(name="b", default_value="x"))
    wanted = Definition(level="game", entity_id=1, name="n", command_template="{{.a}} {{.b}}", fields=fields)
    if all(complaint(field, given.get(field.name, "")) is None for field in fields):
        assert len(render(wanted, given).splitlines()) == 1
