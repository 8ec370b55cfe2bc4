"""HTTP requests to messages and messages to JSON, by the rules of `google.api.http` and of protobuf's JSON mapping.

Our choices: field names in snake_case (camelCase is understood too), int64 as text, zero values always written. What
protobuf would let pass without a word is refused: null, and a name that is there twice.
Everything wrong with a request is reported as `Invalid` with the field that it is about.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from manman.errors import Invalid, Problem
from manman_api.rest.bindings import WHOLE_BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.message import Message

    from manman_api.rest.bindings import Binding

MASK_FIELD = "update_paths"
MAX_PARAMETERS = 200
MAX_PROBLEMS = 20
"""Of one kind that are told of; who has more has one in truth."""

_PLACE = re.compile(r"^Failed to parse (\w+) field: ")


def to_json(message: Message) -> dict[str, Any]:
    """Return `message` as JSON values."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def read_request(
    binding: Binding, request: Message, values: Sequence[str], query: Sequence[tuple[str, str]], body: bytes
) -> None:
    """Fill `request` from the path's values, the query and the body; raises Invalid with every problem found."""
    problems: list[Problem] = []
    given = _read_body(binding, request, body, problems)
    problems += _read_query(binding, request, query)
    problems += _read_path(binding, request, values)
    if problems:
        raise Invalid(problems)
    _imply_mask(binding, request, given)


def _read_body(binding: Binding, request: Message, body: bytes, problems: list[Problem]) -> list[str]:
    """Merge the body into the request; returns the names of the top-level fields that it held."""
    if not body.strip():
        return []
    if not binding.body:
        problems.append(Problem("body", "this call takes no body"))
        return []
    try:
        document = _load(body, problems, whole=binding.body == WHOLE_BODY)
        if problems:
            return []
        if binding.body == WHOLE_BODY:
            json_format.ParseDict(document, request)
            return _names(request, document)
        json_format.ParseDict({binding.body: document}, request)
    except (json_format.ParseError, RecursionError, ValueError, TypeError, AttributeError) as error:
        problems.append(_body_problem(error))
    return []


def _body_problem(error: Exception) -> Problem:
    match error:
        case json_format.ParseError():
            return _parse_problem(str(error))
        case RecursionError():
            text = "it is nested too deeply"
        case json.JSONDecodeError():
            text = f"it is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        case UnicodeDecodeError():
            text = f"it is not UTF-8: byte {error.start} cannot stand there"
        case UnicodeEncodeError():
            text = "it holds half a character: one of \\ud800 to \\udfff without its other half"
        case _:  # protobuf lets some errors of wrong types through; their texts are about its own code
            text = "it must be a JSON object whose values have the types of their fields"
    return Problem("body", text)


def _load(body: bytes, problems: list[Problem], *, whole: bool) -> Any:  # noqa: ANN401 - any JSON value
    twice: list[str] = []

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return found

    document = json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=read_object)
    if b"\\u" in body:  # neither protobuf nor an answer could hold half a character
        json.dumps([document, twice], ensure_ascii=False).encode()
    nulls = _nulls(document, "") if b"null" in body else ()
    problems += [Problem(name, "it is there more than once") for name in twice[:MAX_PROBLEMS]]
    problems += [Problem(path or "body", "null is no value; leave it out") for path in islice(nulls, MAX_PROBLEMS)]
    if whole and not isinstance(document, dict):
        raise TypeError("only an object holds a request's fields")
    return document


def _nulls(value: object, path: str) -> Iterator[str]:
    """Find each null; give its path, such as `port_bindings[0].protocol`."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _nulls(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")


def _refuse_constant(name: str) -> float:
    raise json_format.ParseError(f"{name} is no number in JSON")


def _names(request: Message, document: dict[str, Any]) -> list[str]:
    named = [_field(request, name) for name in document]
    return [field.name for field in named if field is not None]


def _parse_problem(text: str) -> Problem:
    """Make a problem of protobuf's own words: `Failed to parse a field: Failed to parse b field: what`."""
    path = []
    while place := _PLACE.match(text):
        path.append(place[1])
        text = text[place.end() :]
    unknown = re.search(r'has no field named "([^"]*)"', text)
    if unknown:
        return Problem(".".join([*path, unknown[1]]), "there is no such field")
    reason = text.splitlines()[0].rstrip(".") if text else ""
    is_about_python = not reason or "object is" in reason or "bytes-like" in reason
    return Problem(".".join(path) or "body", "the value has the wrong type" if is_about_python else reason)


def _read_query(binding: Binding, request: Message, query: Sequence[tuple[str, str]]) -> Iterable[Problem]:
    if len(query) > MAX_PARAMETERS:
        return [Problem("query", f"it has more than {MAX_PARAMETERS} parameters")]
    given: dict[str, list[str]] = {}
    for name, text in query:
        given.setdefault(name, []).append(text)
    problems = []
    for name, texts in given.items():
        if binding.body == WHOLE_BODY or name in binding.variables:
            problems.append(Problem(name, "this call takes no such query parameter"))
        else:
            problems += _set(request, name, texts)
    return problems


def _read_path(binding: Binding, request: Message, values: Sequence[str]) -> Iterable[Problem]:
    problems: list[Problem] = []
    for name, text in zip(binding.variables, values, strict=True):
        before = _get(request, name)
        problems += _set(request, name, [text])
        if before and before != _get(request, name):
            problems.append(Problem(name, "it is different in the path and in the body"))
    return problems


def _imply_mask(binding: Binding, request: Message, given: list[str]) -> None:
    """Make PATCH change exactly the fields that the body names, unless it names them in `update_paths` itself."""
    if binding.http_method == "PATCH" and _field(request, MASK_FIELD) and MASK_FIELD not in given:
        getattr(request, MASK_FIELD).extend(name for name in given if name not in binding.variables)


def _field(message: Message, name: str) -> FieldDescriptor | None:
    """Find a field by its proto name or its camelCase name."""
    descriptor = message.DESCRIPTOR
    found: Any = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    return cast("FieldDescriptor | None", found)


def _get(message: Message, path: str) -> object:
    target: Any = message
    for name in path.split("."):
        target = getattr(target, name)
    return target


def _set(message: Message, path: str, texts: Sequence[str]) -> list[Problem]:
    """Set the field at a dotted path from the texts in a path or query: several only for a list."""
    *parents, last = path.split(".")
    target: Any = message
    for name in parents:
        field = _field(target, name)
        if field is None or field.message_type is None or field.is_repeated:
            return [Problem(path, "there is no such parameter")]
        target = getattr(target, field.name)
    field = _field(target, last)
    if field is None or field.message_type is not None:
        return [Problem(path, "there is no such parameter")]
    if len(texts) > 1 and not field.is_repeated:
        return [Problem(path, "it is given more than once")]
    try:
        values = [_value(field, text) for text in texts]
        if field.is_repeated or field.type not in _ASSIGNED:
            json_format.ParseDict({field.name: values if field.is_repeated else values[0]}, target)
        else:
            setattr(target, field.name, values[0])
    except (json_format.ParseError, ValueError, TypeError):
        return [Problem(path, f"{', '.join(texts)[:50]!r} is not {_KINDS.get(field.type, 'a valid text')}")]
    return []


def _value(field: FieldDescriptor, text: str) -> object:
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()] if text.lower() in _BOOLS else text
    if field.type in _INTEGERS:
        if not re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII):
            raise ValueError(text)
        return int(text)
    return text


_BOOLS = frozenset({"true", "1", "false", "0"})
_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_UINT32,
    }
)
_ASSIGNED = _INTEGERS | {FieldDescriptor.TYPE_STRING}
"""Kinds whose values need no reading by the library, which takes its time."""
_KINDS = {
    **dict.fromkeys(_INTEGERS, "an integer that fits the field"),
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_DOUBLE: "a number",
    FieldDescriptor.TYPE_ENUM: "one of the names",
    FieldDescriptor.TYPE_BYTES: "base64",
}
