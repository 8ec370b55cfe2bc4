from __future__ import annotations

import pytest

from manman_host.image_user import needs_lookup, owner_of

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# broken line\ngames:x:5:60::/:/bin/sh\nx:y\nsteam:x:1000:1001::/:\n"
GROUP = "root:x:0:\nplayers:x:700:steam\ngames:x:60:\n"


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("0", (0, 0)),
        ("games", (5, 60)),
        ("1000", (1000, 1001)),
        ("4242", (4242, 0)),
        ("1000:1000", (1000, 1000)),
        ("games:players", (5, 700)),
        ("4242:players", (4242, 700)),
        ("games:9", (5, 9)),
        ("nobody", None),
        ("games:nogroup", None),
    ],
)
def test_the_user_of_an_image_is_who_the_engine_runs_it_as(user: str, owner: tuple[int, int] | None) -> None:
    assert owner_of(user, PASSWD, GROUP) == owner


@pytest.mark.parametrize(
    ("user", "needed"), [("", False), ("root", False), ("0", False), ("1:2", False), ("1000", True), ("games", True)]
)
def test_an_image_is_looked_into_only_when_its_user_is_not_plain(user: str, needed: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert needs_lookup(user) is needed
