import pytest

from manman.errors import Invalid
from manman_api.masks import changes

VALUES = {"name": "new", "steam_app_id": "", "metadata": None, "count": 0, "tags": []}


def test_without_a_mask_what_is_not_empty_is_meant() -> None:
    assert changes([], VALUES) == {"name": "new"}


def test_with_a_mask_exactly_its_paths_are_meant_also_when_empty() -> None:
    assert changes(["steam_app_id", "metadata"], VALUES) == {"steam_app_id": "", "metadata": None}


def test_an_unknown_path_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(Invalid, match="'nmae' cannot be updated; use name, steam_app_id"):
        changes(["nmae", "name"], VALUES)


def test_a_mandatory_field_cannot_be_cleared() -> None:
    with pytest.raises(Invalid, match="steam_app_id: must not be empty"):
        changes(["steam_app_id"], VALUES, mandatory=("steam_app_id",))


def test_a_path_given_twice_counts_once() -> None:
    assert changes(["name", "name"], VALUES) == {"name": "new"}
