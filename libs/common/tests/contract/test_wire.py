"""The protos against `wire.txt`, which was written down by hand: names, numbers, types, presence, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from manman.v1 import (
    access_control_pb2,
    api_pb2,
    dead_letters_pb2,
    events_pb2,
    log_processor_pb2,
    permissions_pb2,
    values_pb2,
    workshop_pb2,
    wrapper_control_pb2,
)

FILES = (
    api_pb2,
    workshop_pb2,
    log_processor_pb2,
    wrapper_control_pb2,
    values_pb2,
    access_control_pb2,
    dead_letters_pb2,
    events_pb2,
)
TYPES = {5: "i32", 3: "i64", 1: "f64", 9: "str", 8: "bool", 12: "bytes"}
LABEL_REPEATED, TYPE_MESSAGE, TYPE_ENUM = 3, 11, 14
STREAM = "stream "


def read() -> dict[str, dict[str, str]]:
    """Return the lines of each section of wire.txt, by what stands before the colon."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in Path(__file__).with_name("wire.txt").read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, text = line.partition(": ")
            section[name] = text
    return sections


WIRE = read()
SERVICES = {name.split()[1]: lines for name, lines in WIRE.items() if name.startswith("service ")}


def fields_in(text: str) -> set[str]:
    return set() if text == "-" else {field.strip() for field in text.split(",")}


def expected_messages() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    methods = [(name, line) for lines in SERVICES.values() for name, line in lines.items()]
    methods += [(name.split(".")[1], line) for name, line in WIRE["additional methods"].items()]
    for name, line in methods:
        request, response = line.split(" -> ")
        found[f"{name}Request"] = fields_in(request)
        if response != "stream LogMessage":
            found[f"{name}Response"] = fields_in(response.removeprefix(STREAM))
    for section in ("messages", "additional messages"):
        found.update({name: fields_in(text) for name, text in WIRE[section].items()})
    for name, text in WIRE["additional fields"].items():
        found[name] |= fields_in(text)
    return found


def protos() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        if file.package == "manman.v1" and file.name not in found:
            found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
            for other in file.dependencies:
                add(other)

    for module in FILES:
        add(module.DESCRIPTOR)
    return found


PROTOS = protos()


def actual_messages() -> Iterator[tuple[str, set[str]]]:
    for file in PROTOS.values():
        for message in file.message_type:
            maps = {nested.name for nested in message.nested_type if [one.type for one in nested.field] == [9, 9]}
            yield message.name, {written(field, maps) for field in message.field}


def written(field: descriptor_pb2.FieldDescriptorProto, maps: set[str]) -> str:
    kind = TYPES.get(field.type) or field.type_name.rpartition(".")[2]
    if kind in maps:
        kind = "map"
    elif field.label == LABEL_REPEATED:
        kind += "[]"
    elif field.proto3_optional:
        kind += "?"
    return f"{field.name}={field.number}:{kind}"


def test_every_message_is_what_the_wire_says_and_there_is_no_other() -> None:
    assert dict(actual_messages()) == expected_messages()


@pytest.mark.parametrize(
    ("service", "count"), [("ManManAPI", 66), ("WorkshopService", 31), ("LogProcessor", 1), ("AccessControl", 4)]
)
def test_a_service_has_exactly_its_methods(service: str, count: int) -> None:
    assert len(SERVICES[service]) == count
    assert {method.name for method in methods_of(service)} == set(SERVICES[service]) | added_to(service)


def test_the_wrapper_has_its_methods_and_the_two_added_ones() -> None:
    added = added_to("WrapperControl")
    assert len(added) == 2
    assert {method.name for method in methods_of("WrapperControl")} == set(SERVICES["WrapperControl"]) | added


def added_to(service: str) -> set[str]:
    added = [name.split(".") for name in WIRE["additional methods"]]
    return {method for owner, method in added if owner == service}


def methods_of(service: str) -> list[descriptor_pb2.MethodDescriptorProto]:
    found = [one for file in PROTOS.values() for one in file.service if one.name == service]
    return list(found[0].method)


def test_requests_and_responses_are_named_after_their_method_and_stream_where_the_wire_says() -> None:
    lines = {(service, name): line for service, methods in SERVICES.items() for name, line in methods.items()}
    for name, line in WIRE["additional methods"].items():
        service, method_name = name.split(".")
        lines[service, method_name] = line
    for (service, name), line in lines.items():
        method = next(one for one in methods_of(service) if one.name == name)
        streams = line.split(" -> ")[1].startswith(STREAM)
        response = "LogMessage" if name == "StreamSessionLogs" else f"{name}Response"
        assert method.input_type == f".manman.v1.{name}Request"
        assert method.output_type == f".manman.v1.{response}"
        assert (method.client_streaming, method.server_streaming) == (False, streams)


def test_every_enum_value_has_its_number() -> None:
    actual = {
        enum.name: {f"{value.name}={value.number}" for value in enum.value}
        for file in PROTOS.values()
        for enum in file.enum_type
        if enum.name != "Role"
    }
    assert actual == {name: fields_in(text) for name, text in WIRE["enums"].items()}


def test_what_we_added_is_numbered_from_101() -> None:
    for text in WIRE["additional fields"].values():
        assert all(int(number) > 100 for number in re.findall(r"=(\d+):", text))


def test_the_gap_in_the_numbers_of_an_addon_is_reserved() -> None:
    addon = next(one for file in PROTOS.values() for one in file.message_type if one.name == "WorkshopAddon")
    assert [(one.start, one.end) for one in addon.reserved_range] == [(16, 17)]


def test_every_method_names_the_role_that_it_needs() -> None:
    for service in SERVICES:
        for method in methods_of(service):
            assert method.options.Extensions[permissions_pb2.permission] != permissions_pb2.ROLE_UNSPECIFIED, (
                method.name
            )


def test_every_method_of_the_api_has_a_rest_path_and_the_wrapper_has_none() -> None:
    for service in SERVICES:
        for method in methods_of(service):
            pattern = method.options.Extensions[annotations_pb2.http].WhichOneof("pattern")
            assert (pattern is not None) == (service != "WrapperControl"), method.name


def test_methods_that_read_are_get_and_open_to_viewers() -> None:
    for service in ("ManManAPI", "WorkshopService", "LogProcessor"):
        for method in methods_of(service):
            rule = method.options.Extensions[annotations_pb2.http]
            if rule.WhichOneof("pattern") == "get":
                assert method.options.Extensions[permissions_pb2.permission] == permissions_pb2.ROLE_VIEWER


VERBS = {
    "Get": {"get"},
    "List": {"get"},
    "Stream": {"get"},
    "Fetch": {"get"},
    "Delete": {"delete"},
    "Remove": {"delete"},
    "Update": {"patch", "put"},
    "Add": {"put"},
}
"""What HTTP calls the verb that an RPC's name begins with. Everything else makes or does something: post."""


def test_a_method_has_the_http_verb_of_its_name_and_only_post_put_and_patch_have_a_body() -> None:
    for service in ("ManManAPI", "WorkshopService", "LogProcessor", "AccessControl"):
        for method in methods_of(service):
            rule = method.options.Extensions[annotations_pb2.http]
            verb = re.match("[A-Z][a-z]+", method.name)
            assert verb is not None
            for one in (rule, *rule.additional_bindings):
                pattern = one.WhichOneof("pattern")
                assert pattern in VERBS.get(verb[0], {"post"}), method.name
                assert not one.body or pattern in {"post", "put", "patch"}, method.name
