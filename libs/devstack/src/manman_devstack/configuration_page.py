"""docs/configuration.md, written from the settings classes: `python -m manman_devstack.configuration_page`.

Every variable of every service with its default and meaning, taken from where it is read, so that the page cannot be
out of date. Variables that several services share are told once.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from manman_devstack.home import REPOSITORY
from manman_devstack.variables import variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from manman_devstack.variables import Variable

PAGE = REPOSITORY / "docs" / "configuration.md"
SERVICES = ("api", "processor", "migration", "host", "wrapper", "ui")

_TITLES = {
    "RuntimeSettings": "Every process",
    "DatabaseSettings": "Database",
    "BusSettings": "Message broker",
    "RpcClientSettings": "Calling the API",
    "ObjectStoreSettings": "Object store",
    "TracingSettings": "Traces",
}
_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m manman_devstack.configuration_page` from the settings classes; do not edit by hand. -->

Every process reads its settings from environment variables, once, at its start. A variable that is set but empty
counts as not set. A bad value ends the process with exit code 2 and one line for each problem, which names the variable
and never its value; secrets do not appear in any log. `make up` chooses all of this for a laptop; `.env.example` shows
what the compose file needs.
"""


def page() -> str:
    """Return the whole page."""
    classes = {name: _settings_of(name) for name in SERVICES}
    parts = [_INTRODUCTION]
    for fragment, title in _shared(classes.values()):
        users = [name for name, settings in classes.items() if issubclass(settings, fragment)]
        parts.append(
            f"## {title}\n\n{_first_line(fragment)}\n\nRead by: {', '.join(users)}.\n\n{_table(variables(fragment))}"
        )
    for name, settings in classes.items():
        parts.append(f"## {name}\n\n{_first_line(settings)}{_also(settings)}\n\n{_own_table(settings)}")
    return "\n".join(parts)


def main() -> int:
    """Write the page; with `--check` only say whether it is current."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    if PAGE.read_text() == text:
        return 0
    sys.stderr.write(
        f"{PAGE.relative_to(REPOSITORY)} is out of date: run python -m manman_devstack.configuration_page\n"
    )
    return 1


def _settings_of(service: str) -> type:
    settings: type = importlib.import_module(f"manman_{service}.settings").Settings
    return settings


def _shared(classes: Iterable[type]) -> list[tuple[type, str]]:
    """Return the common fragments that any service uses, in the order of the titles."""
    used = {base.__name__: base for settings in classes for base in settings.__mro__}
    return [(used[name], title) for name, title in _TITLES.items() if name in used]


def _own_variables(settings: type) -> Mapping[str, Variable]:
    """Return the variables that the class does not share with others, or about which it says something else."""
    shared = [base for base in settings.__mro__ if base.__name__ in _TITLES]
    inherited = {field: variable for base in shared for field, variable in variables(base).items()}
    return {
        field: variable
        for field, variable in variables(settings).items()
        if field not in inherited or _facts(inherited[field]) != _facts(variable)
    }


def _facts(variable: Variable) -> tuple[str, tuple[str, ...]]:
    return variable.default, variable.others


def _own_table(settings: type) -> str:
    own = _own_variables(settings)
    return _table(own) if own else "No variables of its own.\n"


def _table(of: Mapping[str, Variable]) -> str:
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for variable in of.values():
        meaning = variable.meaning.replace("|", "\\|")
        lines.append(f"| `{variable.name}` | {variable.default} | {meaning}{_also_named(variable)} |")
    return "\n".join(lines) + "\n"


def _also_named(variable: Variable) -> str:
    others = [f"`{name}`" for name in variable.others]
    return f" (also {', '.join(others)})" if others else ""


def _first_line(settings: type) -> str:
    return (settings.__doc__ or "").strip().splitlines()[0]


def _also(settings: type) -> str:
    shared = [title for name, title in _TITLES.items() if name in {base.__name__ for base in settings.__mro__}]
    links = [f"[{title}](#{title.lower().replace(' ', '-')})" for title in shared]
    return f" Besides: {', '.join(links)}." if links else ""


if __name__ == "__main__":
    sys.exit(main())
