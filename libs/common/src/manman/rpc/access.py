"""Who is calling, and may they. Every RPC names the least role that it needs, as an option in its proto.

Deny by default: an RPC without a role is refused to everybody. How a caller proves who it is, is an *authenticate*
function chosen at start; it gets the call's metadata (REST: its headers) and returns a `Caller` or raises
`Unauthenticated`.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from manman.errors import Invalid, PermissionDenied, Problem, Unauthenticated
from manman.v1 import permissions_pb2
from manman.v1.permissions_pb2 import ROLE_ADMIN, ROLE_HOST, ROLE_OPERATOR, ROLE_UNSPECIFIED, ROLE_VIEWER, Role

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

AUTH_NONE = "none"
AUTHORIZATION_KEY = "authorization"

log = structlog.get_logger(__name__)

_INCLUDES: dict[int, frozenset[int]] = {
    ROLE_VIEWER: frozenset({ROLE_VIEWER}),
    ROLE_HOST: frozenset({ROLE_VIEWER, ROLE_HOST}),
    ROLE_OPERATOR: frozenset({ROLE_VIEWER, ROLE_HOST, ROLE_OPERATOR}),
    ROLE_ADMIN: frozenset({ROLE_VIEWER, ROLE_HOST, ROLE_OPERATOR, ROLE_ADMIN}),
}


@dataclass(frozen=True)
class Caller:
    """Who is calling: a name for the audit log, and a role."""

    subject: str
    role: Role.ValueType


Authenticate = Callable[[Mapping[str, str]], Awaitable[Caller]]
Verify = Callable[[str], Awaitable[Caller]]
"""Returns who holds a bearer token, or raises Unauthenticated."""


def authenticate_by_mode(mode: str, verify: Verify | None = None) -> Authenticate:
    """Return how callers are known in `GRPC_AUTH_MODE` `mode`: not at all in none, else by a token that `verify` knows.

    Raises Invalid for a mode that needs `verify` where there is none.
    """
    if mode != AUTH_NONE:
        if verify is None:
            raise Invalid([Problem("GRPC_AUTH_MODE", f"{mode!r} needs something to check tokens by; none does not")])
        return authenticate_by_bearer(verify)
    log.warning(
        "authentication_is_off",
        meaning="everybody who reaches this port is an administrator",
        advice="keep the port on a private network",
    )

    async def everybody(_metadata: Mapping[str, str]) -> Caller:
        return Caller("dev-user", ROLE_ADMIN)

    return everybody


def authenticate_by_bearer(verify: Verify) -> Authenticate:
    """Return how callers are known who send `authorization: Bearer <token>`: as the one whom `verify` names."""

    async def holder(metadata: Mapping[str, str]) -> Caller:
        scheme, _, token = metadata.get(AUTHORIZATION_KEY, "").strip().partition(" ")
        if not scheme:
            raise Unauthenticated(f"this API wants to know who calls: send '{AUTHORIZATION_KEY}: Bearer <token>'")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(f"{AUTHORIZATION_KEY} must be 'Bearer <token>'")
        return await verify(token.strip())

    return holder


def authenticate_by_token(token: str) -> Authenticate:
    """Return how a host is known that was given `token`: it sends `authorization: Bearer <token>`.

    With an empty token everybody who reaches the address is that host.
    """
    expected = f"Bearer {token}".encode()

    async def holder_of_the_token(metadata: Mapping[str, str]) -> Caller:
        if token and not hmac.compare_digest(metadata.get(AUTHORIZATION_KEY, "").encode(), expected):
            raise Unauthenticated("the bearer token is missing or wrong")
        return Caller("host", ROLE_HOST)

    return holder_of_the_token


@functools.cache
def required_role(method: MethodDescriptor) -> Role.ValueType:
    """Return the least role that may call `method`; ROLE_UNSPECIFIED means nobody."""
    role: Role.ValueType = method.GetOptions().Extensions[permissions_pb2.permission]
    return role


def require(caller: Caller, role: Role.ValueType, method_name: str) -> None:
    """Raise PermissionDenied unless `caller` may do what needs `role`."""
    if role == ROLE_UNSPECIFIED or role not in _INCLUDES.get(caller.role, frozenset()):
        needed = "nobody may call it" if role == ROLE_UNSPECIFIED else f"it needs the role {word_of(role)}"
        raise PermissionDenied(f"{caller.subject} may not call {method_name}: {needed}")


def word_of(role: Role.ValueType) -> str:
    """Return a role as people and settings write it, for example `viewer`."""
    return Role.Name(role).removeprefix("ROLE_").lower()


ROLES: dict[str, Role.ValueType] = {word_of(role): role for role in (ROLE_VIEWER, ROLE_HOST, ROLE_OPERATOR, ROLE_ADMIN)}
"""The roles by the words that people write, the lesser ones first."""
