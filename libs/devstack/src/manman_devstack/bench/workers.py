"""The processes of a benchmark: each a module of this package that is told by lines and answers in lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Worker:
    """One such process, while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to this process."""
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, line: str = "") -> dict[str, Any]:
        """Write a line and return the answer."""
        if self._process.stdin is None:
            raise RuntimeError("it was started without a way to talk to it")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Return what it says next; RuntimeError when it ends instead: its last words are on stderr."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def started(module: str, environment: Mapping[str, str] | None = None) -> Iterator[Worker]:
    """Run `manman_devstack.bench.<module>` during the block, with these variables besides our own."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"manman_devstack.bench.{module}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.communicate()
