"""docs/configuration.md, written from the settings classes: `python -m manman_devstack.configuration_page`.

Every variable of every service with its default and meaning, taken from where it is read, so that the page cannot be
out of date. Variables that several services share are told once.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, get_args

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from manman.settings import Fragment
from manman_devstack.home import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

PAGE = REPOSITORY / "docs" / "configuration.md"
SERVICES = ("api", "processor", "migration", "host", "wrapper", "ui")

_TITLES = {
    "RuntimeSettings": "Every process",
    "DatabaseSettings": "Database",
    "BusSettings": "Message broker",
    "RpcClientSettings": "Calling the API",
    "ObjectStoreSettings": "Object store",
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
        parts.append(f"## {title}\n\n{_first_line(fragment)}\n\nRead by: {', '.join(users)}.\n\n{_table(fragment)}")
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


def _settings_of(service: str) -> type[Fragment]:
    settings: type[Fragment] = importlib.import_module(f"manman_{service}.settings").Settings
    return settings


def _shared(classes: Iterable[type[Fragment]]) -> list[tuple[type[Fragment], str]]:
    """Return the common fragments that any service uses, in the order of the titles."""
    used = {base.__name__: base for settings in classes for base in settings.__mro__}
    return [(used[name], title) for name, title in _TITLES.items() if name in used]


def _own_fields(settings: type[Fragment]) -> dict[str, FieldInfo]:
    """Return the fields that the class does not share with others, or about which it says something else."""
    bases = [base for base in settings.__mro__ if base.__name__ in _TITLES and issubclass(base, Fragment)]
    inherited = {name: field for base in bases for name, field in base.model_fields.items()}
    return {
        name: field
        for name, field in settings.model_fields.items()
        if name not in inherited or _facts(name, inherited[name]) != _facts(name, field)
    }


def _facts(name: str, field: FieldInfo) -> tuple[str, str]:
    return _default(field), _aliases(name, field)


def _own_table(settings: type[Fragment]) -> str:
    fields = _own_fields(settings)
    return _rows(fields) if fields else "No variables of its own.\n"


def _table(settings: type[Fragment]) -> str:
    return _rows(settings.model_fields)


def _rows(fields: dict[str, FieldInfo]) -> str:
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        variable = field.validation_alias if isinstance(field.validation_alias, str) else name
        lines.append(f"| `{variable.upper()}` | {_default(field)} | {meaning}{_aliases(name, field)} |")
    return "\n".join(lines) + "\n"


def _aliases(name: str, field: FieldInfo) -> str:
    choices = getattr(field.validation_alias, "choices", [])
    others = [f"`{choice.upper()}`" for choice in choices if isinstance(choice, str) and choice != name]
    return f" (also {', '.join(others)})" if others else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.get_default(call_default_factory=False)
    if default is PydanticUndefined and field.default_factory is not None:
        return "computed"
    if isinstance(default, SecretStr) or SecretStr in (field.annotation, *get_args(field.annotation)):
        default = default.get_secret_value() if isinstance(default, SecretStr) else default
    if default in (None, "", (), frozenset()):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple | frozenset | list | set):
        return f"`{','.join(str(item) for item in default)}`"
    return f"`{default}`"


def _first_line(settings: type[Fragment]) -> str:
    return (settings.__doc__ or "").strip().splitlines()[0]


def _also(settings: type[Fragment]) -> str:
    shared = [title for name, title in _TITLES.items() if name in {base.__name__ for base in settings.__mro__}]
    links = [f"[{title}](#{title.lower().replace(' ', '-')})" for title in shared]
    return f" Besides: {', '.join(links)}." if links else ""


if __name__ == "__main__":
    sys.exit(main())
