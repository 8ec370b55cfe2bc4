"""Messages to JSON text, by protobuf's JSON mapping with our choices: the same values as `transcode.to_json`.

The library walks the descriptors again for every message, which is most of what a long list costs. Here they are walked
once for each type of message, and what comes out is one expression: an f-string with a place for each field, made of
nothing but the names in our own protos. Fields without presence are always written, others when they are set.

Types of google.protobuf have a JSON form of their own: those are left to the library.
"""

from __future__ import annotations

import base64
import functools
import json
import keyword
import math
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from manman_api.rest.transcode import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    Write = Callable[[Any], str]


def text_of(message: Message) -> str:
    """Return `message` as JSON."""
    return _writer(message.DESCRIPTOR)(message)


@functools.cache
def _writer(descriptor: Descriptor) -> Write:
    """Return what writes messages of a type."""
    if descriptor.file.package == "google.protobuf":
        return lambda message: json.dumps(to_json(message), ensure_ascii=False)
    names: dict[str, Any] = {"quote": quote}
    parts = ""
    for number, field in enumerate(descriptor.fields):
        names[f"write{number}"] = _field(field)
        value = f"getattr(message, '{field.name}')" if keyword.iskeyword(field.name) else f"message.{field.name}"
        if field.has_presence:
            written = f"',\"{field.name}\":' + write{number}({value})"
            parts += f"{{{written} if message.HasField('{field.name}') else ''}}"
        else:
            parts += f',"{field.name}":' + _inline(field, value, f"write{number}")
    # Every part begins with a comma; the first of them is cut off.
    write: Write = eval(f'lambda message: "{{" + f"""{parts} """[1:-1] + "}}"', names)  # noqa: S307 - see the docstring
    return write


def _inline(field: FieldDescriptor, value: str, write: str) -> str:
    """Return the place of a field in an f-string: without a call for the commonest kinds, and for what is empty."""
    if field.is_repeated:
        empty = "'{}'" if _is_map(field) else "'[]'"
        return f"{{{write}(items) if (items := {value}) else {empty}}}"
    return _INLINE[field.type].replace("VALUE", value) if field.type in _INLINE else f"{{{write}({value})}}"


def _field(field: FieldDescriptor) -> Write:
    """Return what writes the value of a field."""
    kind = field.message_type
    if kind is not None and _is_map(field):
        key, value = _key(kind.fields_by_name["key"]), _one(kind.fields_by_name["value"])
        return lambda entries: "{" + ",".join([f"{key(name)}:{value(entries[name])}" for name in entries]) + "}"
    one = _one(field)
    if not field.is_repeated:
        return one
    if kind is not None:  # one look for the writer is enough for all items
        return lambda items: "[" + ",".join(map(_writer(kind), items)) + "]"
    return lambda items: "[" + ",".join(map(one, items)) + "]"


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _key(field: FieldDescriptor) -> Write:
    """Return what writes the keys of a map, which are texts in JSON."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return quote
    return (lambda key: '"true"' if key else '"false"') if field.type == FieldDescriptor.TYPE_BOOL else _quoted


def _one(field: FieldDescriptor) -> Write:
    """Return what writes one value of a field's type."""
    if field.message_type is not None:
        return text_of  # it looks for the writer when there is a value: types may hold themselves
    if field.enum_type is not None:
        known = {number: quote(value.name) for number, value in field.enum_type.values_by_number.items()}
        return lambda number: known.get(number) or str(number)
    return _WRITERS[field.type]


def _quoted(value: object) -> str:
    return f'"{value}"'


def _double(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


_QUOTED = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
_PLAIN = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_SFIXED32,
    }
)
_INLINE: dict[int, str] = {
    **dict.fromkeys(_QUOTED, '"{VALUE}"'),
    **dict.fromkeys(_PLAIN, "{VALUE}"),
    FieldDescriptor.TYPE_STRING: "{quote(VALUE)}",
    FieldDescriptor.TYPE_BOOL: "{'true' if VALUE else 'false'}",
}
_WRITERS: dict[int, Write] = {
    **dict.fromkeys(_QUOTED, _quoted),
    **dict.fromkeys(_PLAIN, str),
    FieldDescriptor.TYPE_STRING: quote,
    FieldDescriptor.TYPE_BOOL: lambda value: "true" if value else "false",
    FieldDescriptor.TYPE_BYTES: lambda value: f'"{base64.b64encode(value).decode()}"',
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _double,
}
