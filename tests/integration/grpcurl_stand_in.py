"""`grpcurl -plaintext [-H header] [-d json] address list | service/method`, for tests: it is in no package registry.

It learns the services from the server's reflection, as grpcurl does, and translates between JSON and messages by
protobuf's JSON mapping. So a command that works here shows that its address, method, JSON and headers are right, and
that reflection tells enough to make the call. It does not show how the real program lays out what it prints.
"""

import argparse
import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

Headers = list[tuple[str, str]]

TIMEOUT_S = 20
FIRST_CODE = 64
"""The exit code of a refusal is this and the number of its status."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="grpcurl")
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-H", action="append", default=[], dest="headers")
    parser.add_argument("-d", default="", dest="data")
    parser.add_argument("address")
    parser.add_argument("what", help="list, or service/method")
    asked = parser.parse_args()
    pairs = [one.partition(":") for one in asked.headers]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    with grpc.insecure_channel(asked.address) as channel:
        services = ProtoReflectionDescriptorDatabase(channel)
        if asked.what == "list":
            say("\n".join(sorted(services.get_services())))
            return 0
        try:
            call(channel, DescriptorPool(services), asked.what, json.loads(asked.data or "{}"), headers)
        except grpc.RpcError as refused:
            code = "".join(word.title() for word in refused.code().name.split("_"))
            sys.stderr.write(f"ERROR:\n  Code: {code}\n  Message: {refused.details()}\n")
            return FIRST_CODE + int(refused.code().value[0])
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def call(channel: grpc.Channel, pool: DescriptorPool, what: str, values: object, headers: Headers) -> None:
    """Make the call and print each answer."""
    service, _, name = what.rpartition("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    request = json_format.ParseDict(values, GetMessageClass(method.input_type)())
    answer_type = GetMessageClass(method.output_type)
    answers = channel.unary_stream(
        f"/{what}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer_type.FromString,
    )
    for answer in answers(request, metadata=headers, timeout=TIMEOUT_S):
        say(json_format.MessageToJson(answer))


if __name__ == "__main__":
    sys.exit(main())
