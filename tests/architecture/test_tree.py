"""Rules about the tree itself that no linter knows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("libs/common/src/manman/v1/", "libs/common/src/buf/", "services/migration/src/manman_migration/versions/")
LINES_MAX = 400
ABSENT = {"utils", "helpers", "core", "base", "manager", "common_utils", "misc"}
EVERY_MACHINES = {Path("/", name) for name in ("", "home", "mnt", "opt", "srv", "tmp", "var/tmp")}
SERVICES = ("api", "processor", "migration", "host", "wrapper", "ui")


def tracked(suffix: str) -> list[str]:
    """Paths of the files with this suffix that belong to the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", f"*{suffix}"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [path for path in listed if not path.startswith(GENERATED) and (ROOT / path).is_file()]


def test_no_file_is_longer_than_the_cap() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in tracked(".py")}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX} == {}


def test_every_module_opens_by_defining_its_thing() -> None:
    silent = [
        path
        for path in tracked(".py")
        if "/tests/" not in path and not path.startswith("tests/") and (text := (ROOT / path).read_text()).strip()
        if not text.lstrip().startswith(('"""', 'r"""', "#!"))
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in tracked(".py") if ABSENT & set(Path(path).with_suffix("").parts)] == []


def test_no_file_names_a_machine() -> None:
    own = {Path.home(), ROOT.parent} - EVERY_MACHINES  # a clone in /tmp makes /tmp no machine's own
    found = []
    for suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".cfg", "Makefile", "Dockerfile"):
        for path in tracked(suffix):
            text = (ROOT / path).read_text()
            found += [f"{path}: {directory}/" for directory in own if f"{directory}/" in text]
    assert found == []


def test_every_suppressed_rule_says_why_on_its_line() -> None:
    bare = []
    for path in tracked(".py"):
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            mark = re.search(r"#\s*(noqa|type:\s*ignore)\b(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*|\[[^\]]*\])?(.*)", line)
            if mark and not re.search(r"[a-z]{3}", mark.group(4) or ""):
                bare.append(f"{path}:{number}")
    assert bare == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_with_the_same_files(service: str) -> None:
    package = ROOT / "services" / service / "src" / f"manman_{service}"
    expected = ["__main__.py", "settings.py"] + ([] if service == "migration" else ["app.py"])
    assert [name for name in expected if not (package / name).is_file()] == []


@pytest.mark.timeout(180)
def test_generated_code_is_current() -> None:
    command = [sys.executable, "-m", "manman_devstack.protos", "--check"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
