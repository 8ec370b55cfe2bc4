"""Schemathesis reads the OpenAPI document and asks the real api what the document says, and what it forbids.

No 5xx, no status or answer that is not declared, nothing accepted that the document forbids; settings are in
schemathesis.toml.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from manman import clock
from manman.db import transitions
from manman.db.transitions import Change
from manman.domain.sessions import Status

STREAM = "StreamSessionLogs"
"""Asked first, while no session is live: its answer lasts as long as the session."""


async def schemathesis(url: str, folder: Path, *options: str) -> tuple[int, str]:
    """Run it over the document at `url`; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        *("run", url, "--no-color", "--phases", "examples,fuzzing", "--workers", "1", "--request-timeout", "10"),
        *("--warnings", "off", "--continue-on-failure"),
        *options,
        cwd=folder,  # it leaves files behind
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


@pytest.mark.timeout(300)
async def test_the_api_is_what_its_document_says(api: Any, uow: Any, new_session: Any, tmp_path: Path) -> None:
    async with uow() as tx:
        row = await tx.sessions.lock(await new_session())
        await transitions.apply(tx, row, Change(status=Status.CRASHED), now=clock.now())
        await tx.commit()
    url = f"http://127.0.0.1:{api.addresses.rest}/openapi.json"
    for options in (("--include-operation-id", STREAM), ("--exclude-operation-id", STREAM)):
        code, printed = await schemathesis(url, tmp_path, *options)
        assert code == 0, printed
        assert "Examples" in printed
