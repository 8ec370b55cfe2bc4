"""Messages as JSON Schema: types by protobuf's JSON mapping, texts from the protos' comments, limits from their rules.

A rule that JSON Schema cannot say (a CEL expression) is said in the description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from manman.rpc.services import type_of
from manman.v1.comments import COMMENTS
from manman_api.rest import examples
from manman_api.validation import request_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from manman.errors import Problem

Schema = dict[str, Any]

INT64_LIMITS = (-(2**63), 2**63 - 1)
INTEGER_TEXT = "^-?[0-9]{1,19}$"
POSITIVE_TEXT = "^[1-9][0-9]{0,18}$"
NOT_NEGATIVE_TEXT = "^(0|[1-9][0-9]{0,18})$"

_TYPES: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": INTEGER_TEXT},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": NOT_NEGATIVE_TEXT},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}


class Schemas:
    """The schemas of all messages met so far, by name, for `#/components/schemas`."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._problems_of: Callable[[Message], list[Problem]] = request_rules()

    def reference(self, descriptor: Descriptor | EnumDescriptor) -> Schema:
        """Return a reference to a message's or enum's schema, which is made when first asked for."""
        name = str(descriptor.name)
        if name not in self.components:
            self.components[name] = {}  # a message may hold itself
            self.components[name] = (
                _enum(descriptor) if isinstance(descriptor, EnumDescriptor) else self._message(descriptor)
            )
        return {"$ref": f"#/components/schemas/{name}"}

    def request_body(self, descriptor: Descriptor, without: tuple[str, ...]) -> Schema:
        """Return the schema of a request as a body, without the fields that the path holds."""
        schema = self._message(descriptor)
        schema["properties"] = {
            name: as_input(part) for name, part in schema["properties"].items() if name not in without
        }
        required = [name for name in schema.get("required", ()) if name not in without]
        schema.pop("required", None)
        self._close(schema)
        return {**schema, "required": required} if required else schema

    def _close(self, schema: Schema) -> None:
        """Say of an object that requests hold, and of all that it holds, that no other fields are possible."""
        if "properties" not in schema or "additionalProperties" in schema:
            return
        schema["additionalProperties"] = False
        for part in schema["properties"].values():
            name = str(part.get("$ref") or part.get("items", {}).get("$ref") or "").rpartition("/")[2]
            self._close(self.components.get(name, {}))

    def required(self, descriptor: Descriptor) -> list[str]:
        """Return the fields that cannot be left out: those of which the rules refuse the zero value."""
        named = {problem.field for problem in self._problems_of(type_of(descriptor)())}
        return [field.name for field in descriptor.fields if field.name in named]

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of one field with its description and rules."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.ignore == validate_pb2.IGNORE_ALWAYS:
            rules = validate_pb2.FieldRules()
        schema = self._shape(field, rules)
        if text := COMMENTS.get(field.full_name, ""):
            schema["description"] = text
        if (example := examples.of_field(field)) is not None:
            schema["examples"] = [example]
        return schema

    def _shape(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            schema: Schema = {"type": "object", "additionalProperties": self._single(message.fields_by_name["value"])}
            names = _limits(rules.map.keys)
            return {**schema, "propertyNames": {"type": "string", **names}} if names else schema
        if field.is_repeated:
            items = {**self._single(field), **_limits(rules.repeated.items)}
            return {"type": "array", "items": items, **_count_limits(rules.repeated)}
        return {**self._single(field), **_limits(rules)}

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self.reference(field.enum_type)
        return dict(_TYPES[field.type])

    def _message(self, descriptor: Descriptor) -> Schema:
        schema: Schema = {"type": "object", "properties": {one.name: self.field(one) for one in descriptor.fields}}
        rules = descriptor.GetOptions().Extensions[validate_pb2.message]
        texts = [COMMENTS.get(descriptor.full_name, ""), *(f"Rule: {rule.message}." for rule in rules.cel)]
        schema["description"] = "\n\n".join(text for text in texts if text)
        if required := self.required(descriptor):
            schema["required"] = required
        return schema


def as_input(schema: Schema) -> Schema:
    """Return the schema of a value as requests may write it: 64-bit integers as numbers too."""
    if schema.get("format") != "int64":
        return schema
    least = {POSITIVE_TEXT: 1, INTEGER_TEXT: INT64_LIMITS[0]}.get(schema["pattern"], 0)
    return {"maximum": INT64_LIMITS[1], **schema, "type": ["integer", "string"], "minimum": least}


def _enum(descriptor: EnumDescriptor) -> Schema:
    names = [value.name for value in descriptor.values]
    comments = {name: COMMENTS.get(f"{descriptor.full_name}.{name}", "") for name in names}
    lines = [f"- `{name}`: {comment}" for name, comment in comments.items() if comment]
    text = "\n".join([COMMENTS.get(descriptor.full_name, ""), *lines])
    return {"type": "string", "enum": names, "description": text}


def _limits(rules: validate_pb2.FieldRules) -> Schema:
    """Return the keywords that say what `rules` say."""
    limits: Schema = {}
    match rules.WhichOneof("type"):
        case "string":
            limits = _string_limits(rules.string)
        case "bytes" if rules.bytes.max_len:
            limits = {"maxLength": (rules.bytes.max_len + 2) // 3 * 4}
        case "int32":
            limits = _number_limits(rules.int32)
        case "int64":
            # written as text: only the sign and the number of digits can be said
            if rules.int64.HasField("gt"):
                limits = {"pattern": POSITIVE_TEXT}
            elif rules.int64.HasField("gte"):
                limits = {"pattern": NOT_NEGATIVE_TEXT}
            if rules.int64.HasField("lte"):
                more_digits = len(str(rules.int64.lte)) - 1
                limits |= {"pattern": f"^(0|[1-9][0-9]{{0,{more_digits}}})$", "maximum": rules.int64.lte}
    if "enum" in limits and rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        limits["enum"] = ["", *limits["enum"]]
    return limits


def _string_limits(rules: validate_pb2.StringRules) -> Schema:
    keywords = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
    limits = {keywords[field.name]: value for field, value in rules.ListFields() if field.name in keywords}
    if rules.HasField("prefix"):
        limits["pattern"] = f"^{rules.prefix}"
    in_list = list(getattr(rules, "in"))
    return {**limits, "enum": in_list} if in_list else limits


def _count_limits(rules: validate_pb2.RepeatedRules) -> Schema:
    keywords = {"min_items": "minItems", "max_items": "maxItems"}
    return {keywords[field.name]: value for field, value in rules.ListFields() if field.name in keywords}


def _number_limits(rules: validate_pb2.Int32Rules) -> Schema:
    keywords = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
    return {keywords[field.name]: value for field, value in rules.ListFields() if field.name in keywords}
