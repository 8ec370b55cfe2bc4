"""A *service* is a proto service and the object that answers it: all that a server or a gateway needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

type_of = GetMessageClass
"""The message class of a message descriptor."""


class NoContext:
    """What a servicer gets as its context: nothing to work with.

    Servicers raise errors of `manman.errors` and return messages; deadline, metadata and status belong to the chain.
    The generated base class sets a code before it raises NotImplementedError, so that is accepted and ignored.
    """

    def set_code(self, code: object) -> None:
        """Ignore `code`: the chain answers UNIMPLEMENTED itself."""

    def set_details(self, details: str) -> None:
        """Ignore `details`, see `set_code`."""


@dataclass(frozen=True)
class Service:
    """One proto service (`api_pb2.DESCRIPTOR.services_by_name[…]`) and its servicer, of the generated base class."""

    descriptor: ServiceDescriptor
    servicer: object

    def methods(self) -> tuple[MethodDescriptor, ...]:
        """Return the service's methods in the order of the proto."""
        return tuple(self.descriptor.methods)

    def has(self, method: MethodDescriptor) -> bool:
        """Tell whether the servicer has its own `method`; the generated one only says that there is none."""
        written = getattr(type(self.servicer), method.name)
        return not written.__module__.endswith("_pb2_grpc")

    def unary(self, method: MethodDescriptor) -> Callable[[Message], Any]:
        """Return a function of one request: a coroutine, or an async iterator if the method streams."""
        answer = getattr(self.servicer, method.name)
        context = NoContext()

        def handle(request: Message) -> Any:  # noqa: ANN401 - a coroutine or an iterator, as the method says
            return answer(request, context)

        return handle


def path_of(method: MethodDescriptor) -> str:
    """Return gRPC's name of a method: `/package.Service/Method`."""
    return f"/{method.containing_service.full_name}/{method.name}"
