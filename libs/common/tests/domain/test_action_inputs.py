from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.action_inputs import MAX_CHARACTERS, check_inputs, complaint
from manman.domain.actions import Field, Option
from manman.domain.patterns import pattern_complaint

MAPS = (Option(value="de_dust2"), Option(value="de_inferno", label="Inferno"))


def field(**columns: Any) -> Field:
    return Field(**{"name": "x", **columns})


@pytest.mark.parametrize(
    ("columns", "good", "bad"),
    [
        ({}, ["anything", " ", "é", "{{.x}}", "; rm -rf /", "\U0001f600"], []),
        ({"type": "textarea"}, ["a line"], ["two\nlines"]),
        ({"pattern": "^[0-9]+$"}, ["1", "42"], ["x", "4x", "-1"]),
        ({"pattern": "b+"}, ["abc"], ["ac"]),
        ({"pattern": r"^\p{L}+$"}, ["été"], ["a1"]),
        ({"type": "number"}, ["1", "-1.5", "+.5", "1.", "1e3"], ["x", "1_0", "0x1", "inf", "nan", "1e999", " 1", "٣"]),
        ({"type": "number", "min_value": 1, "max_value": 2.5}, ["1", "2.5", "2"], ["0.99", "2.51", "-2"]),
        ({"min_length": 2, "max_length": 3}, ["ab", "éüö", "\U0001f600\U0001f600"], ["a", "abcd"]),
        ({"type": "select", "options": MAPS}, ["de_dust2", "de_inferno"], ["Inferno", "DE_DUST2", "de_dust2 "]),
        ({"type": "radio", "options": MAPS}, ["de_dust2"], ["other"]),
        ({"type": "checkbox"}, ["true", "false"], ["on", "1", "TRUE"]),
        ({"type": "email"}, ["a@b", "a.b+c@ex-ample.org"], ["a", "@b", "a@", "a@b@c", "a b@c", "a@-b", "Ann <a@b>"]),
        (
            {"type": "url"},
            ["http://a", "https://a.b:8080/c?d#e", "HTTPS://[::1]/"],
            ["a.b", "ftp://a", "http://", "javascript:alert(1)", "http://a b", "http://a:99999", "http://[", "//a"],
        ),
    ],
)
def test_a_value_fits_its_type_and_limits(columns: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert {value: complaint(field(**columns), value) for value in good} == dict.fromkeys(good)
    assert [value for value in bad if complaint(field(**columns), value) is None] == []


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("kind", ["text", "textarea", "email", "url"])
def test_no_value_can_hold_a_second_command(character: str, kind: str) -> None:
    assert "control characters" in (complaint(field(type=kind), f"say hi{character}quit") or "")


@given(st.text(), st.sampled_from(["text", "textarea", "number", "email", "url", "checkbox"]))
def test_whatever_is_let_through_is_one_line(value: str, kind: str) -> None:
    if complaint(field(type=kind), value) is None:
        assert len(value.splitlines()) <= 1


def test_a_required_input_is_filled_in_and_any_other_may_be_empty() -> None:
    assert "required" in (complaint(field(required=True, default_value="x"), "") or "")
    assert complaint(field(pattern="^a$", min_length=3, type="number"), "") is None


def test_a_long_list_of_choices_is_cut_short() -> None:
    many = tuple(Option(value=str(number)) for number in range(500))
    assert (complaint(field(type="select", options=many), "x") or "").endswith("18, 19, …")


def test_a_value_has_a_limit_of_its_own() -> None:
    assert complaint(field(), "x" * MAX_CHARACTERS) is None
    assert complaint(field(), "x" * (MAX_CHARACTERS + 1)) is not None


def test_the_first_problem_in_the_order_shown_wins_and_unknown_names_are_ignored() -> None:
    fields = [
        field(name="second", label="2nd", required=True, display_order=2),
        field(name="first", type="number", display_order=1),
    ]

    def problem(given: dict[str, str]) -> str | None:
        found = check_inputs(fields, given)
        return found.field if found else None

    assert problem({"first": "x"}) == "first"
    assert problem({"first": "1"}) == "2nd (second)"
    assert problem({"second": "x", "unknown": "\n"}) is None


def test_a_pattern_that_would_be_slow_elsewhere_is_not() -> None:
    assert complaint(field(pattern="^(a|a?)+$"), "a" * 4000 + "b") is not None


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "(?=x)", r"(a)\1", "*", "a{1001}", "(((a{100}){100}){100})"])
def test_a_pattern_that_cannot_be_used_says_why(pattern: str) -> None:
    assert (pattern_complaint(pattern) or "").startswith("is no RE2 expression: ")


@given(st.text(alphabet="ab()[]{}|*+?^$\\.0,1", max_size=20), st.text(max_size=20))
def test_any_pattern_is_refused_or_answers(pattern: str, value: str) -> None:
    if pattern_complaint(pattern) is None:
        complaint(field(pattern=pattern), value)
