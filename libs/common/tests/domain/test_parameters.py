import pytest
from hypothesis import given
from hypothesis import strategies as st

from manman.domain.parameters import MASK, Declared, check_declared, hide, resolve, secrets_of
from manman.domain.rendering import render_text
from manman.errors import Invalid

DECLARED = [
    Declared(key="max_players", type="int", required=True, default_value="20"),
    Declared(key="difficulty", default_value="normal"),
    Declared(key="pvp", type="bool", default_value="false"),
    Declared(key="pw", type="secret"),
]


def test_later_levels_win() -> None:
    deployment = {"max_players": "50", "difficulty": "hard"}
    session = {"max_players": "10", "pvp": "true", "colour": "red"}

    resolved = resolve(DECLARED, [deployment, session])

    assert resolved.values == {"max_players": "10", "difficulty": "hard", "pvp": "true", "colour": "red", "pw": ""}
    assert [warning.field for warning in resolved.warnings] == ["parameters.colour"]
    template = "--max={{max_players}} --diff={{difficulty}} --pw={{pw}} --x={{nope}}"
    assert render_text(template, resolved.values) == "--max=10 --diff=hard --pw= --x={{nope}}"


def test_a_value_of_the_config_beats_its_default() -> None:
    assert resolve([Declared(key="a", default_value="1", value="2")], []).values == {"a": "2"}


def test_a_missing_required_value_is_named() -> None:
    with pytest.raises(Invalid, match=r"parameters\.name: a string value is required"):
        resolve([Declared(key="name", required=True)], [])


def test_a_required_value_with_a_default_is_not_missing() -> None:
    assert resolve([Declared(key="name", required=True, default_value="x")], []).values == {"name": "x"}


def test_an_empty_required_value_is_present_and_warned_about() -> None:
    resolved = resolve([Declared(key="name", required=True)], [{"name": ""}])

    assert resolved.values == {"name": ""}
    assert [warning.field for warning in resolved.warnings] == ["parameters.name"]


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        resolve([*DECLARED, Declared(key="map", required=True)], [{"max_players": "twenty", "pvp": "maybe"}])

    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["parameters.max_players", "parameters.pvp", "parameters.map"]


@pytest.mark.parametrize("value", ["42", "-5", "+7", "0", "9223372036854775807", "-9223372036854775808"])
def test_a_whole_number_is_an_int(value: str) -> None:
    assert resolve([Declared(key="a", type="int")], [{"a": value}]).values == {"a": value}


@pytest.mark.parametrize("value", ["3.14", "", "1_000", " 5", "5 ", "0x1", "٣", "9223372036854775808", "5\n"])
def test_anything_else_is_no_int(value: str) -> None:
    with pytest.raises(Invalid):
        resolve([Declared(key="a", type="int")], [{"a": value}])


@pytest.mark.parametrize("value", ["1", "t", "T", "true", "True", "TRUE", "tRuE", "0", "f", "F", "false", "False"])
def test_both_spellings_of_a_bool_are_read(value: str) -> None:
    assert resolve([Declared(key="a", type="bool")], [{"a": value}]).values == {"a": value}


@pytest.mark.parametrize("value", ["yes", "no", "", "2", "maybe"])
def test_anything_else_is_no_bool(value: str) -> None:
    with pytest.raises(Invalid):
        resolve([Declared(key="a", type="bool")], [{"a": value}])


def test_limits_and_allowed_values_hold() -> None:
    declared = [
        Declared(key="low", type="int", min_value=1),
        Declared(key="high", type="int", max_value=9),
        Declared(key="mode", allowed_values=("a", "b")),
    ]

    with pytest.raises(Invalid) as refused:
        resolve(declared, [{"low": "0", "high": "10", "mode": "c"}])

    assert len(refused.value.problems) == 3


def test_a_declaration_is_checked_when_it_is_saved() -> None:
    declared = [
        Declared(key="a b"),
        Declared(key="x", type="float"),
        Declared(key="x", type="int", default_value="many"),
        Declared(key="y", type="bool", value="perhaps"),
        Declared(key="z", type="int", min_value=2, max_value=1),
    ]

    with pytest.raises(Invalid) as refused:
        check_declared(declared)

    assert [problem.field for problem in refused.value.problems] == [
        "parameters[0].key",
        "parameters[1].type",
        "parameters[2].key",
        "parameters[2].default_value",
        "parameters[3].value",
        "parameters[4].min_value",
    ]


def test_a_good_declaration_passes() -> None:
    check_declared([*DECLARED, Declared(key="untyped", type="")])


def test_a_secret_of_any_level_is_hidden_whole_and_line_by_line() -> None:
    declared = [Declared(key="pw", type="secret", default_value="swordfish"), Declared(key="open", value="sesame")]
    secrets = secrets_of(declared, [{"pw": "two\nlines"}, {"pw": "two", "open": "sesame"}, {}])

    assert hide("swordfish, 'lines', two\nlines and two: sesame", secrets) == (
        f"{MASK}, '{MASK}', {MASK} and {MASK}: sesame"
    )
    assert secrets_of([Declared(key="pw", type="secret")], [{"pw": ""}]) == frozenset()
    assert hide("nothing to hide", frozenset()) == "nothing to hide"


@given(st.dictionaries(st.sampled_from("abc"), st.text()), st.dictionaries(st.sampled_from("abc"), st.text()))
def test_the_last_layer_always_wins(first: dict[str, str], last: dict[str, str]) -> None:
    values = resolve([Declared(key="a"), Declared(key="z")], [first, last]).values

    assert values == {"a": "", "z": "", **first, **last}
