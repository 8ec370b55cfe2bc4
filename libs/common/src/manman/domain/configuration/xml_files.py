"""XML files: a layer is lines `xpath=value`, or a whole document that takes the place of the one before.

`/Server/Max=5` sets an element's text, `/Server/@port=5` an attribute. What an expression names is made when only plain
last steps are missing. The default namespace of the root has the prefix `ns`. Entities are never resolved.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from manman.domain.configuration.lines import Lines
from manman.domain.configuration.strategies import Unreadable

MAX_EXPRESSION = 1_000

_DECLARATION = re.compile(r"\s*<\?xml\b(?P<rest>[^>]*)\?>\s*")
_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*", re.DOTALL)
_ENCODING = re.compile(r"""encoding\s*=\s*["']([^"']+)["']""")
_STEP = re.compile(r"(?P<parent>.+)/(?P<name>[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)")
_ATTRIBUTE = re.compile(r"(?P<parent>.+)/@(?P<name>[A-Za-z_][\w.-]*)")


def overlay(text: str, layer: str) -> str:
    """Lay a layer over an XML text."""
    if layer.lstrip().startswith("<"):
        read(layer)
        return layer
    changes = lines(layer)
    if not changes:
        return text
    if not text.strip():
        raise Unreadable("has no document to change: give the strategy a base, or a whole document as the first patch")
    root = read(text)
    changed = [_set(root, expression, value) for expression, value in changes]
    return _written(root, text) if any(changed) else text


def lines(layer: str) -> list[tuple[str, str]]:
    """Read `xpath=value` lines; the separator is the first `=` outside brackets and quotes. `#` begins a comment."""
    found = []
    for number, line in enumerate(Lines.of(layer).lines, start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        position = _separator(stripped)
        if position <= 0:
            raise Unreadable(f"line {number} is not xpath=value")
        expression = stripped[:position].rstrip()
        if len(expression) > MAX_EXPRESSION:
            raise Unreadable(f"line {number} has an expression of more than {MAX_EXPRESSION} characters")
        _compiled(expression, {"ns": "urn:none"})
        found.append((expression, stripped[position + 1 :].lstrip()))
    return found


def read(text: str) -> Any:  # noqa: ANN401 - an element of lxml
    """Parse a document; raise `Unreadable`."""
    declaration = _DECLARATION.match(text)
    encoding = _ENCODING.search(declaration["rest"]) if declaration else None
    if encoding and encoding[1].lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise Unreadable(f"says that it is {encoding[1]}: files are written as UTF-8")
    body = text[declaration.end() :] if declaration else text
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        strip_cdata=False,
    )
    try:
        return etree.fromstring(body.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable(f"is not XML: {error}") from error


def _written(root: Any, before: str) -> str:  # noqa: ANN401 - an element of lxml
    """Write the root again; what stands before it stays as it was."""
    start = _PROLOG.match(before)
    prolog = start[0] if start else ""
    body: str = etree.tostring(root, encoding="unicode", with_tail=False)
    after = "".join(f"\n{etree.tostring(node, encoding='unicode', with_tail=False)}" for node in root.itersiblings())
    end = before[len(before.rstrip()) :]
    return prolog + body + after + end


def _set(root: Any, expression: str, value: str) -> bool:  # noqa: ANN401 - an element of lxml
    attribute = _ATTRIBUTE.fullmatch(expression)
    if attribute:
        elements = _find(root, attribute["parent"]) or [_make(root, attribute["parent"])]
        return True in [_set_attribute(element, attribute["name"], value) for element in elements]
    elements = _find(root, expression) or [_make(root, expression)]
    return True in [_set_text(element, value) for element in elements]


def _set_attribute(element: Any, name: str, value: str) -> bool:  # noqa: ANN401 - an element of lxml
    if element.get(name) == value:
        return False
    _try_set(lambda: element.set(name, value))
    return True


def _set_text(element: Any, value: str) -> bool:  # noqa: ANN401 - an element of lxml
    if len(element):
        raise Unreadable(f"{element.tag} has elements below it: name one that holds text")
    if (element.text or "") == value:
        return False
    _try_set(lambda: setattr(element, "text", value))
    return True


def _try_set(write: Any) -> None:  # noqa: ANN401 - a function without arguments
    try:
        write()
    except ValueError as error:
        raise Unreadable(f"holds a character that XML cannot: {error}") from error


def _find(root: Any, expression: str) -> list[Any]:  # noqa: ANN401 - an element of lxml
    try:
        found = _compiled(expression, _namespaces(root))(root.getroottree())
    except etree.XPathError as error:
        raise Unreadable(f"{expression} cannot be used: {error}") from error
    if not isinstance(found, list) or not all(isinstance(element, etree._Element) for element in found):  # noqa: SLF001 - lxml's name for the type
        raise Unreadable(f"{expression} names no elements: use /a/b, or /a/@b for an attribute")
    return found


def _make(root: Any, expression: str) -> Any:  # noqa: ANN401 - an element of lxml
    """Make the element that a path of plain last steps names; its parent is found or made."""
    step = _STEP.fullmatch(expression)
    if not step or step["parent"].endswith("/"):
        raise Unreadable(f"{expression} names nothing in the document")
    parents = _find(root, step["parent"]) or [_make(root, step["parent"])]
    if len(parents) > 1:
        raise Unreadable(f"{step['parent']} names {len(parents)} elements: name one to add {step['name']} to")
    prefix, _, name = step["name"].rpartition(":")
    namespaces = _namespaces(root)
    if prefix and prefix not in namespaces:
        raise Unreadable(f"{expression} uses a prefix that the document's root does not declare")
    parent = parents[0]
    element = etree.SubElement(parent, f"{{{namespaces[prefix]}}}{name}" if prefix else name)
    _indent(parent, element)
    return element


def _indent(parent: Any, element: Any) -> None:  # noqa: ANN401 - elements of lxml
    """Put a new last element on a line of its own when its sisters stand so."""
    sister = element.getprevious()
    if sister is None:
        return
    element.tail = sister.tail
    sister.tail = parent.text if parent.text and not parent.text.strip() else sister.tail


def _compiled(expression: str, namespaces: dict[str, str]) -> Any:  # noqa: ANN401 - lxml's compiled expression
    try:
        return etree.XPath(expression, namespaces=namespaces or None, regexp=False, smart_strings=False)
    except etree.XPathError as error:
        raise Unreadable(f"{expression} is no XPath: {error}") from error


def _namespaces(root: Any) -> dict[str, str]:  # noqa: ANN401 - an element of lxml
    return {prefix or "ns": uri for prefix, uri in root.nsmap.items()}


def _separator(line: str) -> int:
    depth = 0
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and depth:
            quote = character
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == "=" and depth == 0:
            return position
    return -1
