"""Turns `proto/` into the committed code below `libs/common/src`.

    python -m manman_devstack.protos           write the code
    python -m manman_devstack.protos --check   exit 1 and name the files when the committed code is not current

Besides protoc's messages, services and type stubs it writes `manman/v1/comments.py`: descriptors at
run time hold no comments, and the REST documents are made of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped] # it ships no types

ROOT = Path(__file__).resolve().parents[4]
SOURCES = ROOT / "proto"
THIRD_PARTY = ROOT / "third_party" / "proto"
TARGET = Path("libs/common/src")
"""Where the code goes, relative to the repository."""

GENERATED = ("manman/v1/*_pb2*.py*", "manman/v1/comments.py", "buf/validate/*_pb2.py*")
"""What below TARGET is ours to write, and to remove when its source is gone."""

# Field numbers of descriptor.proto: the path of a comment is made of them.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2


def generate(target: Path) -> None:
    """Write all generated code below `target`; raises RuntimeError with protoc's exit code."""
    target.mkdir(parents=True, exist_ok=True)
    own = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    descriptors = target / "descriptors.binpb"
    _protoc(
        f"--python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--grpc_python_out={target}",
        f"--mypy_grpc_out=quiet:{target}",
        f"--descriptor_set_out={descriptors}",
        "--include_source_info",
        *own,
    )
    _protoc(f"--python_out={target}", f"--mypy_out=quiet:{target}", "buf/validate/validate.proto")
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    descriptors.unlink()
    for empty in target.rglob("*_pb2_grpc.py*"):
        if not any(file.service for file in files.file if file.name == _source_of(empty, target)):
            empty.unlink()
    (target / "manman" / "v1" / "comments.py").write_text(_comments_module(files), encoding="utf-8")


def differences() -> dict[str, bytes | None]:
    """Return what `proto/` says of each file below TARGET whose committed code differs; None means: remove it."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        wanted = _read(fresh)
    committed = _read(ROOT / TARGET)
    names = sorted(wanted.keys() | committed.keys())
    return {name: wanted.get(name) for name in names if wanted.get(name) != committed.get(name)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m manman_devstack.protos", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare with the committed code")
    options = parser.parse_args(arguments)
    stale = differences()
    for name, content in stale.items():
        path = ROOT / TARGET / name
        if options.check:
            sys.stderr.write(f"{TARGET / name} is not current: run python -m manman_devstack.protos\n")
        elif content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return 1 if stale and options.check else 0


def _protoc(*arguments: str) -> None:
    well_known = resources.files("grpc_tools") / "_proto"
    # The plugins of mypy-protobuf are scripts beside the interpreter, wherever PATH points.
    plugins = [f"--plugin={name}={Path(sys.executable).with_name(name)}" for name in _PLUGINS]
    paths = [f"--proto_path={path}" for path in (SOURCES, THIRD_PARTY, well_known)]
    exit_code = protoc.main(["protoc", *plugins, *paths, *arguments])
    if exit_code != 0:
        raise RuntimeError(f"protoc ended with exit code {exit_code}")


_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def _read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for glob in GENERATED for path in folder.glob(glob)}


def _source_of(path: Path, target: Path) -> str:
    return path.relative_to(target).as_posix().split("_pb2_grpc.")[0] + ".proto"


def _comments_module(files: descriptor_pb2.FileDescriptorSet) -> str:
    comments: dict[str, str] = {}
    for file in files.file:
        names = _names(file)
        for location in file.source_code_info.location:
            text = "\n".join(line.strip() for line in location.leading_comments.strip().splitlines())
            name = names.get(tuple(location.path))
            if name and text:
                comments[name] = text
    lines = [f"    {name!r}: {text!r},\n" for name, text in sorted(comments.items())]
    return (
        '"""The comments of the proto files by full name. GENERATED by manman_devstack.protos; do not edit."""\n\n'
        "COMMENTS: dict[str, str] = {\n" + "".join(lines) + "}\n"
    )


def _names(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Map the path of each thing in a file to its full name."""
    names: dict[tuple[int, ...], str] = {}
    for index, message in enumerate(file.message_type):
        names.update(_names_of_message(message, (_MESSAGES, index), file.package))
    for index, enum in enumerate(file.enum_type):
        names.update(_names_of_enum(enum, (_ENUMS, index), file.package))
    for index, service in enumerate(file.service):
        full_name = names[(_SERVICES, index)] = f"{file.package}.{service.name}"
        for position, method in enumerate(service.method):
            names[(_SERVICES, index, _METHODS, position)] = f"{full_name}.{method.name}"
    return names


def _names_of_message(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...], scope: str
) -> dict[tuple[int, ...], str]:
    full_name = f"{scope}.{message.name}"
    names = {path: full_name}
    for index, field in enumerate(message.field):
        names[(*path, _FIELDS, index)] = f"{full_name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        names.update(_names_of_message(nested, (*path, _NESTED, index), full_name))
    for index, enum in enumerate(message.enum_type):
        names.update(_names_of_enum(enum, (*path, _NESTED_ENUMS, index), full_name))
    return names


def _names_of_enum(
    enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...], scope: str
) -> dict[tuple[int, ...], str]:
    names = {path: f"{scope}.{enum.name}"}
    for index, value in enumerate(enum.value):
        names[(*path, _VALUES, index)] = f"{scope}.{enum.name}.{value.name}"
    return names


if __name__ == "__main__":
    sys.exit(main())
