"""The doctor: looks at everything a host needs and says what to fix: `python -m manman_host doctor`.

It reads the same settings as the host, registers nothing, changes nothing, and may run beside a host that works. One
line for each finding; the exit code is 1 when something would keep the host from working.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from manman import logs
from manman_host import examination_of_connections, examination_of_machine
from manman_host.finding import FAIL, Finding
from manman_host.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

COMMAND = "doctor"
LIMIT_S = 30.0
"""How long one examination may take."""

if TYPE_CHECKING:
    Examination: TypeAlias = Callable[[Settings], Awaitable[list[Finding]]]

EXAMINATIONS: Mapping[str, Examination] = {
    "engine": examination_of_machine.engine,
    "data folder": examination_of_machine.data_folder,
    "disk": examination_of_machine.disk,
    "ports": examination_of_machine.ports,
    "broker": examination_of_connections.broker,
    "API": examination_of_connections.api,
}


def main() -> int:
    """Examine this machine and print the findings; return the exit code."""
    logs.configure("error", "console", "doctor")
    settings = Settings.from_environment()
    if isinstance(settings, list):
        findings = [Finding("settings", FAIL, problem) for problem in settings]
    else:
        findings = asyncio.run(examine(settings))
    sys.stdout.writelines(f"{finding.level:<4}  {finding.about}: {finding.text}\n" for finding in findings)
    return 1 if any(finding.level == FAIL for finding in findings) else 0


async def examine(settings: Settings) -> list[Finding]:
    """Return every finding. An examination that hangs is a finding itself."""
    found: list[Finding] = []
    for about, examination in EXAMINATIONS.items():
        try:
            async with asyncio.timeout(LIMIT_S):
                found += await examination(settings)
        except TimeoutError:
            found.append(Finding(about, FAIL, f"no answer within {LIMIT_S:g} s"))
    return found
