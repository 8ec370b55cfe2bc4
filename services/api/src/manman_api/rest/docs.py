"""The page /docs: the OpenAPI document for people. One HTML page, rendered here, that loads nothing from anywhere."""

from __future__ import annotations

import json
import shlex
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from manman_api.rest.schemas import INT64_LIMITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

Schema = dict[str, Any]

PATH = "/docs"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def endpoint(document: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that serves the page of `document`."""
    page = render(document)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    return docs


def render(document: dict[str, Any]) -> str:
    """Return the page as HTML."""
    style = resources.files("manman_api.rest").joinpath("docs.css").read_text(encoding="utf-8")
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, verb, operation))
    links = "".join(f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a></li>' for tag in by_tag)
    groups = "".join(
        f'<section id="{_anchor(tag)}"><h2>{escape(tag)}</h2>{"".join(parts)}</section>'
        for tag, parts in by_tag.items()
    )
    messages = "".join(
        f'<details class="schema" id="schema-{escape(name)}"><summary><code>{escape(name)}</code> '
        f"{_text(_first_line(schema))}</summary>{_schema(schema)}</details>"
        for name, schema in document["components"]["schemas"].items()
    )
    paragraphs = "".join(f"<p>{_text(part)}</p>" for part in info["description"].strip().split("\n\n"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(info["title"])} API</title><style>{style}</style></head><body>'
        f'<nav aria-label="Contents"><a class="brand" href="#top">{escape(info["title"])} API</a><ul>{links}'
        '<li><a href="#messages">Messages</a></li><li><a href="/openapi.json">openapi.json</a></li></ul></nav>'
        f'<main id="top"><header><h1>{escape(info["title"])} API</h1><p class="version">Version '
        f"{escape(info['version'])}</p>{paragraphs}</header>{groups}"
        f'<section id="messages"><h2>Messages</h2>{messages}</section></main></body></html>'
    )


def _operation(path: str, verb: str, operation: dict[str, Any]) -> str:
    anchor = escape(operation["operationId"])
    title = f'<span class="verb {verb}">{verb.upper()}</span><code class="path">{_path(path)}</code>'
    summary = f'<span class="summary">{_text(operation["summary"])}</span>'
    parts = [
        f'<details class="operation" id="{anchor}"><summary>{title}{summary}</summary>',
        "".join(f"<p>{_text(part)}</p>" for part in operation["description"].split("\n\n") if part),
    ]
    if operation["parameters"]:
        rows = [
            _row(one["name"], one["schema"], one.get("description", ""), note=one["in"], required="required" in one)
            for one in operation["parameters"]
        ]
        parts.append(f"<h3>Parameters</h3>{_table(rows)}")
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<h3>Body</h3>{_schema(schema)}")
    (media, content), *_ = operation["responses"]["200"]["content"].items()
    shown = content.get("x-item-schema", content["schema"])
    kind = "Events" if media == "text/event-stream" else "Answer"
    parts.append(f"<h3>{kind}</h3><p>{_text(operation['responses']['200']['description'])} {_type(shown)}</p>")
    parts.append(f"<h3>Try it</h3><pre><code>{escape(_curl(path, verb, operation, media))}</code></pre></details>")
    return "".join(parts)


def _curl(path: str, verb: str, operation: dict[str, Any], media: str) -> str:
    command = (
        "curl" + (" -N" if media == "text/event-stream" else "") + (f" -X {verb.upper()}" if verb != "get" else "")
    )
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", "1")
    required = [one for one in operation["parameters"] if one["in"] == "query" and one.get("required")]
    query = "&".join(f"{one['name']}={one['schema']['examples'][0]}" for one in required)
    text = f"{command} '$MANMAN_REST{path}{'?' + query if query else ''}'".replace("'", '"')
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"].get("example", {})
        body = shlex.quote(json.dumps(example, ensure_ascii=False, indent=2))
        text += f" \\\n  -H 'content-type: application/json' -d {body}"
    return text


def _schema(schema: Schema) -> str:
    if "enum" in schema:
        return f"<p>{_text(schema.get('description', '')).replace(chr(10), '<br>')}</p>"
    text = f"<p>{_text(schema['description'])}</p>" if schema.get("description") else ""
    required = schema.get("required", ())
    rows = [
        _row(name, part, part.get("description", ""), required=name in required)
        for name, part in schema.get("properties", {}).items()
    ]
    return text + (_table(rows) if rows else '<p class="none">No fields.</p>')


def _table(rows: list[str]) -> str:
    return f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, schema: Schema, text: str, *, note: str = "", required: bool = False) -> str:
    marks = "".join(f' <span class="mark">{mark}</span>' for mark in (note, "required" if required else "") if mark)
    return (
        f'<tr><th scope="row"><code>{escape(name)}</code>{marks}</th><td>{_type(schema)}</td>'
        f"<td>{_text(text)}{_limits(schema)}</td></tr>"
    )


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    return f"<code>{escape(schema.get('format') or schema.get('type', 'object'))}</code>"


def _limits(schema: Schema) -> str:
    words = {
        "minLength": "at least {} long",
        "maxLength": "at most {} long",
        "minItems": "at least {} of them",
        "maxItems": "at most {} of them",
        "minimum": "from {}",
        "maximum": "to {}",
        "exclusiveMinimum": "greater than {}",
        "pattern": "like {}",
    }
    if schema.get("format") == "int64":
        # the pattern only says in text what the numbers say, and numbers without limits have those of 64 bits
        schema = {key: value for key, value in schema.items() if key != "pattern" and value not in INT64_LIMITS}
    found = [text.format(f"<code>{escape(str(schema[key]))}</code>") for key, text in words.items() if key in schema]
    values = schema.get("enum") or schema.get("items", {}).get("enum")
    if values:
        found.append("one of " + " ".join(f"<code>{escape(value) or '&quot;&quot;'}</code>" for value in values))
    return f'<div class="limits">{", ".join(found)}</div>' if found else ""


def _text(text: str) -> str:
    """Escape a text and show its `code` as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _path(path: str) -> str:
    return escape(path).replace("{", "<i>{").replace("}", "}</i>")


def _first_line(schema: Schema) -> str:
    return str(schema.get("description", "")).split("\n", 1)[0]


def _anchor(tag: str) -> str:
    return "tag-" + escape(tag.lower().replace(" ", "-"))
