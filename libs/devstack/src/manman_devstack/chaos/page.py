"""The page that chaos writes: docs/reliability.md, its table made anew with each full run.

What stands outside of the two marks is written by people and kept.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from manman_devstack.home import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manman_devstack.chaos.faults import Fault
    from manman_devstack.chaos.ground import Toll

PAGE = REPOSITORY / "docs/reliability.md"
BEGIN, END = "<!-- made by `make chaos` -->", "<!-- end of what `make chaos` makes -->"
HEADS = ("Fault", "What is done")
COUNTS = ("Reports", "Said again", "Nonsense", "Events", "Copies", "Right again after", "Memory")


def write(faults: Mapping[str, Fault], tolls: Mapping[str, Toll]) -> None:
    """Put the table of these tolls between the marks of the page."""
    text = PAGE.read_text()
    made = f"{BEGIN}\n{table(faults, tolls)}{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: made, text, flags=re.DOTALL))


def table(faults: Mapping[str, Fault], tolls: Mapping[str, Toll]) -> str:
    """Return the tolls as a table, one fault a line, in the words of the fault's own description."""
    lines = [_line([*HEADS, *COUNTS]), _line(["---"] * len(HEADS) + ["---:"] * len(COUNTS))]
    for name, toll in tolls.items():
        done = (inspect.getdoc(faults[name]) or "").splitlines()[0]
        counts = (toll.reports, toll.repeats, toll.nonsense, toll.events, toll.copies)
        grown = f"{toll.growth_mb:+.0f} MB" if toll.growth_mb else ""
        numbers = [f"{count:,}" for count in counts]
        lines.append(_line([name.replace("_", " "), done, *numbers, f"{toll.recovery_s:.1f} s", grown]))
    return "".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
