"""JSON text: for any message of any type that is answered with, the same values as the protobuf library writes."""

import json
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from manman.v1 import (
    access_control_pb2,
    api_pb2,
    log_processor_pb2,
    server_game_configs_pb2,
    servers_pb2,
    workshop_pb2,
    wrapper_control_pb2,
)
from manman_api.rest.json_text import text_of
from manman_api.rest.transcode import to_json

FILES = (api_pb2, log_processor_pb2, access_control_pb2, workshop_pb2, wrapper_control_pb2)
TYPES: list[Descriptor] = sorted(
    {
        kind
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        for kind in (method.input_type, method.output_type)
    },
    key=lambda kind: kind.full_name,
)

INTEGERS = {"INT32": (-(2**31), 2**31 - 1), "INT64": (-(2**63), 2**63 - 1), "UINT32": (0, 2**32 - 1)}
PLAIN: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    **{getattr(FieldDescriptor, f"TYPE_{name}"): st.integers(*limits) for name, limits in INTEGERS.items()},
}


def values_of(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from(sorted(field.enum_type.values_by_number))
    return messages(field.message_type, depth - 1) if field.message_type is not None else PLAIN[field.type]


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor, depth: int = 3) -> Any:
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if (field.message_type is not None and depth == 0) or not draw(st.booleans()):
            continue
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        target = getattr(message, field.name)
        if entry is not None:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            for name in draw(st.lists(values_of(key, 0), max_size=2)):
                if value.message_type is None:
                    target[name] = draw(values_of(value, 0))
                else:
                    target[name].CopyFrom(draw(values_of(value, depth)))
        elif field.is_repeated:
            target.extend(draw(st.lists(values_of(field, depth), max_size=2)))
        elif field.message_type is not None:
            target.CopyFrom(draw(values_of(field, depth)))
        else:
            setattr(message, field.name, draw(values_of(field, depth)))
    return message


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(TYPES).flatmap(messages))
def test_every_message_reads_as_the_library_writes_it(message: Any) -> None:
    assert json.loads(text_of(message)) == json.loads(json.dumps(to_json(message)))


def test_the_empty_message_of_every_type_reads_as_the_library_writes_it() -> None:
    assert len(TYPES) > 100
    for kind in TYPES:
        message = GetMessageClass(kind)()
        assert json.loads(text_of(message)) == to_json(message), kind.full_name


def test_an_enum_value_of_a_newer_version_is_a_number() -> None:
    issue = server_game_configs_pb2.ValidationIssue(severity=99)  # type: ignore[arg-type] # the newer version has it

    assert json.loads(text_of(issue))["severity"] == to_json(issue)["severity"] == 99


def test_a_type_with_a_json_form_of_its_own_has_that_form() -> None:
    struct = Struct()
    struct.update({"a": [1, None]})

    assert json.loads(text_of(struct)) == {"a": [1, None]}


def test_text_is_written_as_it_is_and_what_json_forbids_is_escaped() -> None:
    message = servers_pb2.Server(name='ü"\\\n\u2028')

    assert '"name":"ü\\"\\\\\\n\u2028"' in text_of(message)
