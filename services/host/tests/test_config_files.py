from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from manman.errors import Conflict
from manman_host.config_files import make_folder, merged, read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_written_whole_with_its_mode_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_file(tmp_path, "sgc-1/data/game.cfg", b"old", 0o644, None)
    write_file(tmp_path, "sgc-1/data/game.cfg", b"name = x\n", 0o600, None)
    target = tmp_path / "sgc-1/data/game.cfg"
    assert target.read_bytes() == b"name = x\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["game.cfg"]


def test_a_folder_belongs_to_the_games_user_and_what_is_there_is_left_alone(tmp_path: Path) -> None:
    make_folder(tmp_path, "sgc-1/own", (1234, 4321))
    own = (tmp_path / "sgc-1/own").stat()
    assert (own.st_uid, own.st_gid, own.st_mode & 0o777) == (1234, 4321, 0o755)
    (tmp_path / "sgc-1/own/world").write_text("precious")
    make_folder(tmp_path, "sgc-1/own", (5, 6))
    assert (tmp_path / "sgc-1/own").stat().st_uid == 1234
    assert (tmp_path / "sgc-1/own/world").stat().st_uid == os.getuid()


def test_a_link_that_a_game_left_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = tmp_path / "base"
    (base / "sgc-1").mkdir(parents=True)
    (base / "sgc-1/data").symlink_to(outside)
    with pytest.raises(Conflict, match="link"):
        write_file(base, "sgc-1/data/game.cfg", b"x", 0o644, None)
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_the_file_is_replaced_and_its_target_untouched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep")
    (tmp_path / "game.cfg").symlink_to(secret)
    write_file(tmp_path, "game.cfg", b"new", 0o644, None)
    assert secret.read_text() == "keep"
    assert not (tmp_path / "game.cfg").is_symlink()


def test_a_text_is_laid_over_what_a_game_wrote(tmp_path: Path) -> None:
    path = "sgc-1/data/server.properties"
    assert read_file(tmp_path, path, None) is None
    assert merged(None, "a=1", "properties") == b"a=1"
    write_file(tmp_path, path, b"# \xff of the game\na=0\nb=2\n", 0o644, None)
    assert merged(read_file(tmp_path, path, None), "a=1\nc=3", "properties") == b"# \xff of the game\na=1\nb=2\nc=3\n"
    assert merged(b"[S]\nx=1\n", "[S]\nx=2", "ini") == b"[S]\nx=2\n"


def test_a_link_or_a_flood_is_not_merged(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a=1")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Conflict):
        read_file(tmp_path, "link", None)
    with pytest.raises(Conflict, match="more than"):
        merged(b"x" * 2_000_000, "a=1", "properties")
