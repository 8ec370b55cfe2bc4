"""The JSON Schemas in docs/events.md, written from the message structs: `python -m manman_devstack.events_page`.

Only what stands between the two markers is generated; the rest of the page is written by people.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from manman.messages.external import DeploymentEvent, HostEvent, SessionEvent
from manman_devstack.home import REPOSITORY

if TYPE_CHECKING:
    from manman.messages.body import Body

PAGE = REPOSITORY / "docs" / "events.md"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
EVENTS: dict[str, type[Body]] = {"host": HostEvent, "session": SessionEvent, "deployment": DeploymentEvent}
"""The bodies by the word that follows `manman.` in their routing keys."""

BEGIN = "<!-- schemas: written by `python -m manman_devstack.events_page` from the message structs; do not edit -->"
END = "<!-- end of schemas -->"


def schema(body: type[Body]) -> dict[str, Any]:
    """Return the JSON Schema of a body. It allows keys that it does not name: a later version may add some."""
    _, components = msgspec.json.schema_components([body])
    return {"$schema": DIALECT, **components[body.__name__]}


def with_schemas(page: str) -> str:
    """Return the page with the schemas as the structs say; ValueError if it lacks the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} needs the lines {BEGIN} and {END}")
    parts = [
        f"### Bodies of `manman.{word}.*`\n\n```json\n{_written(schema(body))}\n```" for word, body in EVENTS.items()
    ]
    return before + begin + "\n\n" + "\n\n".join(parts) + "\n\n" + end + after


def main() -> int:
    """Write the schemas into the page; with `--check` only say whether they are current."""
    text = PAGE.read_text()
    current = with_schemas(text)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(current)
        return 0
    if current == text:
        return 0
    sys.stderr.write(f"{PAGE.relative_to(REPOSITORY)} is out of date: run python -m manman_devstack.events_page\n")
    return 1


def _written(described: dict[str, Any]) -> str:
    """Return a schema as JSON with one property a line."""
    lines = []
    for key, value in described.items():
        if key == "properties":
            rows = [f"    {json.dumps(name)}: {json.dumps(one)}" for name, one in value.items()]
            lines.append('  "properties": {\n' + ",\n".join(rows) + "\n  }")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    sys.exit(main())
