"""The systemd unit and its example settings, checked as far as that goes without a machine that systemd runs."""

from __future__ import annotations

import asyncio
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manman import service
from manman_host.settings import Settings

if TYPE_CHECKING:
    from conftest import World

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
UNIT = FOLDER / "manman-host.service"
SETPRIV = shutil.which("setpriv")
ANALYZE = shutil.which("systemd-analyze")


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys of a unit keep their capitals
    parser.read(UNIT)
    return parser["Service"]


def example() -> dict[str, str]:
    lines = (FOLDER / "host.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd's programs")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/manman/bin/python", sys.executable))
    verified = subprocess.run([str(ANALYZE), "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_waits_as_long_as_the_host_takes_to_end_and_leaves_bad_settings_alone() -> None:
    assert unit()["ExecStart"].endswith("-m manman_host")
    assert float(unit()["TimeoutStopSec"]) > service.SHUTDOWN_TIMEOUT_S
    assert int(unit()["RestartPreventExitStatus"]) == service.EXIT_BAD_SETTINGS
    assert unit()["KillMode"] == "process"


def test_the_example_settings_are_settings_and_the_unit_lets_their_folder_be_written_to() -> None:
    settings = Settings(**{name.lower(): value for name, value in example().items() if value})
    assert set(example()) <= {name.upper() for name in Settings.model_fields}
    assert unit()["ReadWritePaths"] == settings.host_data_dir


@pytest.mark.skipif(SETPRIV is None, reason="needs setpriv of util-linux")
async def test_the_capabilities_of_the_unit_are_enough(world: World) -> None:
    names = [name.removeprefix("CAP_").lower() for name in unit()["CapabilityBoundingSet"].split()]
    confined = [str(SETPRIV), "--no-new-privs", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in names)])]
    program = (
        "import sys; from pathlib import Path; from manman_host.config_files import make_folder, write_file;"
        "base = Path(sys.argv[1]); make_folder(base, 'sgc/data', (1234, 4321));"
        "write_file(base, 'sgc/data/game.cfg', b'x', 0o600, (1234, 4321));"
        "write_file(base, 'sgc/data/game.cfg', b'y', 0o600, (1234, 4321))"
    )
    for command in (
        [sys.executable, "-c", program, str(world.folder)],
        [sys.executable, "-m", "manman_host", "doctor"],
    ):
        environment = {**os.environ, **world.variables}  # noqa: TID251 - a child of the test
        process = await asyncio.create_subprocess_exec(
            *confined, *command, env=environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
    stat = (world.folder / "sgc/data/game.cfg").stat()
    assert (stat.st_uid, stat.st_gid) == (1234, 4321)
    lines = output.decode().splitlines()
    for about in ("engine", "data folder", "same folder"):
        assert any(line.startswith(f"ok    {about}: ") for line in lines), lines
