"""Our errors to google.rpc.Status and back: the only place where gRPC status codes are chosen.

A status says the code and the text for people; its details say the same for programs: the fields of an `Invalid`
(BadRequest), the thing of a `NotFound` (ResourceInfo), when to retry (RetryInfo), and always the request id
(RequestInfo). Whatever is not of our error family is a bug: INTERNAL, the request id, and no word from the inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from manman import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "manman"
"""The domain of our ErrorInfo details."""

RETRY_AFTER_S = 1
STATUS_KEY = "grpc-status-details-bin"

_CODES: dict[type[BaseException], int] = {
    errors.Invalid: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.AlreadyExists: code_pb2.ALREADY_EXISTS,
    errors.Conflict: code_pb2.FAILED_PRECONDITION,
    errors.Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.PermissionDenied: code_pb2.PERMISSION_DENIED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.TimedOut: code_pb2.DEADLINE_EXCEEDED,
    NotImplementedError: code_pb2.UNIMPLEMENTED,
}

DetailT = TypeVar("DetailT", bound="Message")


class CallFailed(Exception):  # noqa: N818 - it is the outcome of a call, not a fault of ours
    """How a call ends that does not end well: everything a transport needs to say so."""

    def __init__(self, status: status_pb2.Status) -> None:
        """Take the finished status."""
        self.status = status
        super().__init__(f"{code_pb2.Code.Name(status.code)}: {status.message}")

    @property
    def is_bug(self) -> bool:
        """Whether the error came from outside our family."""
        return bool(self.status.code == code_pb2.INTERNAL)


class RemoteFailure(Exception):  # noqa: N818 - the failure is on the other side
    """The other side answered with a bug of its own; the text holds its request id for the operator."""


def to_failure(error: BaseException, request_id: str) -> CallFailed:
    """Return what the caller is told about `error`."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), code_pb2.INTERNAL)
    if code == code_pb2.UNIMPLEMENTED:
        text = "this method is not implemented yet"
    elif code == code_pb2.INTERNAL:
        text = f"internal error; the log of the service has it under request id {request_id}"
    else:
        text = str(error)
    details = [*_details(error), error_details_pb2.RequestInfo(request_id=request_id)]
    return CallFailed(status_pb2.Status(code=code, message=text, details=[_pack(detail) for detail in details]))


def code_name(status: status_pb2.Status) -> str:
    """Return the status code as text, for example `NOT_FOUND`."""
    return str(code_pb2.Code.Name(status.code))


def from_rpc_error(error: grpc.aio.AioRpcError) -> Exception:
    """Return the error of our family that the other side raised; RemoteFailure when it was none."""
    status = status_pb2.Status(code=error.code().value[0], message=error.details() or error.code().name)
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            status.ParseFromString(value)
    return from_status(status)


def from_status(status: status_pb2.Status) -> Exception:  # noqa: PLR0911 - one line for each error of the family
    """Return the error of our family that a status tells of; RemoteFailure when it tells of none."""
    text = status.message
    match status.code:
        case code_pb2.INVALID_ARGUMENT | code_pb2.OUT_OF_RANGE:
            bad = _detail(status, error_details_pb2.BadRequest())
            found = [errors.Problem(one.field, one.description) for one in bad.field_violations]
            return errors.Invalid(found or [errors.Problem("request", text)])
        case code_pb2.NOT_FOUND:
            return _about_resource(errors.NotFound, status)
        case code_pb2.ALREADY_EXISTS:
            return _about_resource(errors.AlreadyExists, status)
        case code_pb2.FAILED_PRECONDITION | code_pb2.ABORTED:
            return errors.Conflict(text)
        case code_pb2.RESOURCE_EXHAUSTED:
            info = _detail(status, error_details_pb2.ResourceInfo())
            return errors.Exhausted(info.resource_name or text, info.owner)
        case code_pb2.UNAUTHENTICATED:
            return errors.Unauthenticated(text)
        case code_pb2.PERMISSION_DENIED:
            return errors.PermissionDenied(text)
        case code_pb2.UNAVAILABLE | code_pb2.CANCELLED:
            return errors.Unavailable(text)
        case code_pb2.DEADLINE_EXCEEDED:
            return errors.TimedOut(text)
    return RemoteFailure(f"{code_name(status)}: {text}")


def to_grpc_status(status: status_pb2.Status) -> tuple[grpc.StatusCode, tuple[tuple[str, bytes], ...]]:
    """Return the code and the trailing metadata that carry `status` over gRPC."""
    return _GRPC_CODES[status.code], ((STATUS_KEY, status.SerializeToString()),)


_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _details(error: BaseException) -> list[Message]:
    match error:
        case errors.Invalid(problems=problems):
            found = [
                error_details_pb2.BadRequest.FieldViolation(field=one.field, description=one.message)
                for one in problems
            ]
            return [error_details_pb2.BadRequest(field_violations=found)]
        case errors.NotFound(kind=kind, key=key) | errors.AlreadyExists(kind=kind, key=key):
            return [error_details_pb2.ResourceInfo(resource_type=kind, resource_name=str(key))]
        case errors.Exhausted(what=what, holder=holder):
            return [error_details_pb2.ResourceInfo(resource_type="resource", resource_name=what, owner=holder)]
        case errors.Conflict(reason=reason):
            violation = error_details_pb2.PreconditionFailure.Violation(type="STATE", description=reason)
            return [error_details_pb2.PreconditionFailure(violations=[violation])]
        case errors.Unavailable():
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.seconds = RETRY_AFTER_S
            return [retry]
    return []


def _about_resource(kind: type[errors.NotFound | errors.AlreadyExists], status: status_pb2.Status) -> Exception:
    info = _detail(status, error_details_pb2.ResourceInfo())
    error = kind(info.resource_type or "thing", info.resource_name)
    error.args = (status.message,)
    return error


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _detail(status: status_pb2.Status, into: DetailT) -> DetailT:
    for packed in status.details:
        if packed.Unpack(into):
            break
    return into
