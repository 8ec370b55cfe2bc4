"""Images are built anew when, and only when, what they consist of changed."""

from pathlib import Path

import pytest

from manman_devstack.debian_base import bootstrap_command
from manman_devstack.images import content_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("a")
    (tmp_path / "Dockerfile").write_text("FROM x")
    return tmp_path


def test_the_hash_changes_with_a_byte_a_name_and_a_mode(folder: Path) -> None:
    seen = {content_hash(folder, ["."])}
    (folder / "src/a.py").write_text("b")
    seen.add(content_hash(folder, ["."]))
    (folder / "src/a.py").rename(folder / "src/c.py")
    seen.add(content_hash(folder, ["."]))
    (folder / "src/c.py").chmod(0o755)
    seen.add(content_hash(folder, ["."]))
    assert len(seen) == 4


def test_the_hash_sees_neither_caches_nor_what_was_not_named(folder: Path) -> None:
    before = content_hash(folder, ["src"])
    (folder / "Dockerfile").write_text("FROM y")
    (folder / "src/__pycache__").mkdir()
    (folder / "src/__pycache__/a.pyc").write_text("x")
    assert content_hash(folder, ["src"]) == before


def test_the_base_trusts_what_this_machine_trusts() -> None:
    command = bootstrap_command(["deb http://mirror.example bookworm main"], [], [Path("/usr/share/own ca.crt")])
    assert any("copy-in '/usr/share/own ca.crt'" in word for word in command)
    assert command[-1] == "deb http://mirror.example bookworm main"
