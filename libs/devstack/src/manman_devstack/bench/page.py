"""docs/performance.md: each benchmark replaces its own section of it, between two marks, and leaves the rest alone."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from manman import clock
from manman_devstack.home import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = REPOSITORY / "docs" / "performance.md"


def replace_section(name: str, text: str, page: Path = PAGE) -> None:
    """Write what the benchmark `name` found into its section, which the page must have."""
    begin, end = f"<!-- {name}: written by `make {name}`, do not edit by hand -->", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise LookupError(f"{page.name} has no section between {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers, aligned for a terminal too."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join([_row(head, widths), _line(widths), *(_row(row, widths) for row in rows)])


def circumstances(packages: Sequence[str], *more: str) -> str:
    """Return one sentence on when, on what machine and with which versions something was measured."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    python = f"Python {platform.python_version()}"
    machine = f"{psutil.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}"
    return f"Measured on {clock.now():%Y-%m-%d}, {machine}; {', '.join([python, *more, *versions])}."


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers = cells
    aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
    return f"| {' | '.join(aligned)} |"


def _line(widths: Sequence[int]) -> str:
    first, *numbers = widths
    return "|".join(["", "-" * (first + 2), *("-" * (width + 1) + ":" for width in numbers), ""])


def _processor() -> str:
    try:
        models = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except FileNotFoundError:
        models = []
    return models[0] if models else platform.processor() or "unknown"
