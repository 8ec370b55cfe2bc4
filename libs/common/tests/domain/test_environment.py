import pytest

from manman.domain.environment import names_a_secret, show
from manman.domain.parameters import MASK


def test_each_variable_names_the_level_that_said_the_last_word() -> None:
    found = show(
        {"A": "1", "B": "2", "C": "3", "D": "4"},
        before_strategies={"A": "1", "B": "2", "C": "9", "GONE": "x"},
        overrides={"B", "C"},
        secrets=[],
    )

    assert [(each.name, each.value, each.source) for each in found] == [
        ("A", "1", "game_config"),
        ("B", "2", "server_game_config"),
        ("C", "3", "configuration_strategy"),
        ("D", "4", "configuration_strategy"),
    ]
    assert not any(each.masked for each in found)


def test_what_holds_a_secret_or_is_named_like_one_is_masked() -> None:
    env = {"URL": "db://me:swordfish@host", "RCON_PASSWORD": "", "PLAYERS": "9"}

    found = show(env, before_strategies=env, overrides=set(), secrets=["swordfish", ""])

    assert [(each.name, each.value, each.masked) for each in found] == [
        ("PLAYERS", "9", False),
        ("RCON_PASSWORD", MASK, True),
        ("URL", MASK, True),
    ]


@pytest.mark.parametrize(
    ("name", "secret"), [("rcon_password", True), ("API_TOKEN", True), ("MySecretWord", True), ("PASS", False)]
)
def test_a_name_may_say_that_it_is_a_secret(name: str, secret: bool) -> None:  # noqa: FBT001 - a table
    assert names_a_secret(name) is secret
