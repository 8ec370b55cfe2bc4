"""REST's table of contents: which HTTP method and path means which RPC. Read from `google.api.http`, never written.

A *binding* is one HTTP method and path of an RPC; an RPC may have several. A path is made of literal segments,
variables (`{session_id}`, `{action.action_id}`) and at the end perhaps a custom verb (`:stop`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.api import annotations_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.api.http_pb2 import HttpRule
    from google.protobuf.descriptor import MethodDescriptor

    from manman.rpc.services import Service

WHOLE_BODY = "*"
_VARIABLE = re.compile(r"\{([a-z_][a-z0-9_.]*)\}")
_TEMPLATE = re.compile(r"(?P<path>(?:/(?:[a-z0-9-]+|\{[a-z_][a-z0-9_.]*\}))+)(?::(?P<verb>[A-Za-z]+))?")


@dataclass(frozen=True)
class Binding:
    """One HTTP method and path of an RPC."""

    service: Service
    method: MethodDescriptor
    http_method: str
    segments: tuple[str, ...]
    """Literals and variables in their order; variables in braces."""
    verb: str
    """The custom verb without its colon, or empty."""
    body: str
    """`*`: the body is the request; a field's name: it is that field; empty: there is none."""

    @property
    def template(self) -> str:
        """The path as people write it, for example `/v1/sessions/{session_id}:stop`."""
        return "/" + "/".join(self.segments) + (f":{self.verb}" if self.verb else "")

    @property
    def variables(self) -> tuple[str, ...]:
        """Field paths of the variables, in their order."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))


@dataclass(frozen=True)
class Match:
    """What a path means: a binding for each HTTP method, and the values of the variables."""

    bindings: dict[str, Binding]
    values: tuple[str, ...]


@dataclass
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    leaves: dict[str, dict[str, Binding]] = field(default_factory=dict)


class Table:
    """All bindings of some services, found by path in as many steps as the path has segments."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.bindings = [binding for service in services for binding in _bindings_of(service)]
        self._root = _Node()
        for binding in self.bindings:
            self._add(binding)

    def match(self, path: str) -> Match | None:
        """Return what `path` (percent-decoded) means, or None."""
        *parents, last = path.removeprefix("/").split("/")
        bare, _, verb = last.rpartition(":") if ":" in last else (last, "", "")
        node: _Node | None = self._root
        values: list[str] = []
        for segment in [*parents, bare]:
            if node is None or not segment:
                return None
            if segment in node.literals:
                node = node.literals[segment]
            else:
                values.append(segment)
                node = node.variable
        leaf = node.leaves.get(verb) if node is not None else None
        return Match(leaf, tuple(values)) if leaf else None

    def _add(self, binding: Binding) -> None:
        node = self._root
        for segment in binding.segments:
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        leaf = node.leaves.setdefault(binding.verb, {})
        if binding.http_method in leaf:
            other = leaf[binding.http_method].method.full_name
            raise ValueError(f"{binding.http_method} {binding.template} means {other} and {binding.method.full_name}")
        leaf[binding.http_method] = binding


def _bindings_of(service: Service) -> Iterator[Binding]:
    for method in service.methods():
        rule: HttpRule = method.GetOptions().Extensions[annotations_pb2.http]  # type: ignore[index] # untyped there
        for one in (rule, *rule.additional_bindings):
            if one.WhichOneof("pattern") is not None:
                yield _binding(service, method, one)


def _binding(service: Service, method: MethodDescriptor, rule: HttpRule) -> Binding:
    verb = rule.WhichOneof("pattern") or ""
    template = str(getattr(rule, verb))
    parsed = _TEMPLATE.fullmatch(template)
    if parsed is None:
        raise ValueError(f"{method.full_name}: cannot read the path {template!r}")
    segments = tuple(parsed["path"].removeprefix("/").split("/"))
    return Binding(service, method, verb.upper(), segments, parsed["verb"] or "", rule.body)
