"""Who may call: tokens by gRPC and REST, roles, expiry, revocation, and what is left open."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from manman import clock
from manman.db.api_tokens import is_use_to_be_noted
from manman.rpc import access
from manman.rpc.access import Caller, require, required_role
from manman.v1 import (
    access_control_pb2,
    access_control_pb2_grpc,
    games_pb2,
    logs_pb2,
    permissions_pb2,
    servers_pb2,
    sessions_pb2,
)
from manman_api.app import services_of
from manman_api.handlers.access import create_token

from .conftest import Api, served

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
HTTP = {OK: 200, DENIED: 403, UNKNOWN: 401, INVALID: 400, NOT_FOUND: 404}

METHODS = [
    method
    for service in services_of(None)
    for method in service.methods()  # type: ignore[arg-type] # not called
]


@pytest.fixture
async def guarded(database_url: str, amqp_url: str) -> AsyncIterator[Api]:
    async with served(database_url, amqp_url, grpc_auth_mode="token") as api:
        yield api


@pytest.fixture
async def tokens(uow: Any) -> dict[str, str]:
    return {role: await token(uow, role) for role in access.ROLES}


async def token(uow: Any, role: str, *, lives: timedelta | None = None, born: timedelta = timedelta(0)) -> str:
    now = clock.now() - born
    expires_at = now + lives if lives is not None else None
    return (await create_token(name=f"{role}s", role=role, expires_at=expires_at, now=now, uow=uow))[1]


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return OK, ""


def rest(api: Api, method: str, path: str, secret: str = "", body: object = None) -> tuple[int, Any, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{api.addresses.rest}{path}", method=method)
    if secret:
        request.add_header("Authorization", f"Bearer {secret}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own ports
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_names_a_role_and_is_denied_to_callers_without_one(method: Any) -> None:
    role = required_role(method)
    assert role != permissions_pb2.ROLE_UNSPECIFIED
    with pytest.raises(access.PermissionDenied):
        require(Caller("nobody", permissions_pb2.ROLE_UNSPECIFIED), role, method.name)
    require(Caller("root", permissions_pb2.ROLE_ADMIN), role, method.name)


def test_an_rpc_without_a_role_is_denied_to_everybody() -> None:
    for role in access.ROLES.values():
        with pytest.raises(access.PermissionDenied, match="nobody may call it"):
            require(Caller("root", role), permissions_pb2.ROLE_UNSPECIFIED, "Forgotten")


CASES = {
    "ListGames": (games_pb2.ListGamesRequest(), "GET", "/v1/games", None, OK, "viewer host operator admin"),
    "RegisterServer": (
        servers_pb2.RegisterServerRequest(name="h"),
        "POST",
        "/v1/servers:register",
        {"name": "h"},
        OK,
        "host operator admin",
    ),
    "StopSession": (
        sessions_pb2.StopSessionRequest(session_id=999),
        "POST",
        "/v1/sessions/999:stop",
        {},
        NOT_FOUND,
        "operator admin",
    ),
    "DeleteGame": (games_pb2.DeleteGameRequest(game_id=999), "DELETE", "/v1/games/999", None, OK, "admin"),
    "ListApiTokens": (access_control_pb2.ListApiTokensRequest(), "GET", "/v1/api-tokens", None, OK, "admin"),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_role_may_what_it_may_and_rest_says_the_same(name: str, guarded: Api, tokens: dict[str, str]) -> None:
    request, http_method, path, body, success, roles = CASES[name]
    stub = access_control_pb2_grpc.AccessControlStub(guarded.channel) if "Token" in name else guarded.control
    for role, secret in {**tokens, "nobody": ""}.items():
        expected = success if role in roles.split() else UNKNOWN if role == "nobody" else DENIED
        metadata = bearer(secret) if secret else ()
        code, _ = await code_of(getattr(stub, name)(request, metadata=metadata))
        status, _, _ = await in_thread(rest, guarded, http_method, path, secret, body)
        assert (role, code, status) == (role, expected, HTTP[expected])


async def test_streams_are_guarded_too(guarded: Api, tokens: dict[str, str]) -> None:
    request = logs_pb2.StreamSessionLogsRequest(session_id=999)
    assert (await first_of(guarded.logs.StreamSessionLogs(request)))[0] is UNKNOWN
    assert (await first_of(guarded.logs.StreamSessionLogs(request, metadata=bearer(tokens["viewer"]))))[0] is NOT_FOUND
    assert (await in_thread(rest, guarded, "GET", "/v1/sessions/999/logs:stream"))[0] == 401


async def test_a_wrong_expired_or_revoked_token_is_refused_in_words(guarded: Api, uow: Any) -> None:
    good = await token(uow, "viewer")
    expired = await token(uow, "admin", lives=timedelta(hours=1), born=timedelta(hours=2))
    request = games_pb2.ListGamesRequest()
    prefix, _, secret = good.rpartition("_")
    told = {
        (): "send 'authorization: Bearer <token>'",
        (("authorization", "Basic YTpi"),): "must be 'Bearer <token>'",
        bearer("x"): "not known",
        bearer(good[:-1] + ("A" if good[-1] != "A" else "B")): "not known",
        bearer(f"mm_999_{good[-43:]}"): "not known",
        bearer(expired): "has expired",
    }
    for metadata, words in told.items():
        code, text = await code_of(guarded.control.ListGames(request, metadata=metadata))
        assert (code, words in text) == (UNKNOWN, True), text
        assert secret not in text
    assert prefix.startswith("mm_")

    assert (await code_of(guarded.control.ListGames(request, metadata=bearer(good))))[0] is OK
    admin = access_control_pb2_grpc.AccessControlStub(guarded.channel)
    by = bearer(await token(uow, "admin"))
    revoke = access_control_pb2.RevokeApiTokenRequest(token_id=int(good.split("_")[1]))
    first = (await admin.RevokeApiToken(revoke, metadata=by)).token
    again = (await admin.RevokeApiToken(revoke, metadata=by)).token
    assert first.revoked_at == again.revoked_at > 0
    code, text = await code_of(guarded.control.ListGames(request, metadata=bearer(good)))
    assert (code, text) == (UNKNOWN, "this API token was revoked")


async def test_a_refusal_by_rest_names_the_scheme(guarded: Api) -> None:
    status, body, headers = await in_thread(rest, guarded, "GET", "/v1/games")
    assert (status, body["status"], headers["www-authenticate"]) == (401, "UNAUTHENTICATED", "Bearer")


async def test_health_and_the_document_are_open_and_reflection_is_by_setting(
    guarded: Api, database_url: str, amqp_url: str
) -> None:
    health = health_pb2_grpc.HealthStub(guarded.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    assert (await in_thread(rest, guarded, "GET", "/openapi.json"))[0] == 200
    assert (await reflected(guarded))[0] is OK
    async with served(database_url, amqp_url, grpc_auth_mode="token", grpc_reflection=False) as silent:
        # Nothing is written here: gRPC's client says INTERNAL when it is refused in the middle of a write.
        refused = reflection_pb2_grpc.ServerReflectionStub(silent.channel).ServerReflectionInfo()
        assert await refused.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_secret_is_shown_once_and_stored_as_a_hash(guarded: Api, uow: Any, tokens: dict[str, str]) -> None:
    body = {"name": "ci", "role": "operator", "expires_at": int(clock.now().timestamp()) + 3600}
    _, made, _ = await in_thread(rest, guarded, "POST", "/v1/api-tokens", tokens["admin"], body)
    assert (await in_thread(rest, guarded, "GET", "/v1/games", made["secret"]))[0] == 200

    _, listed, _ = await in_thread(rest, guarded, "GET", "/v1/api-tokens", tokens["admin"])
    ours = listed["tokens"][-1]
    assert {key: ours[key] for key in ("name", "role", "expires_at")} == {**body, "expires_at": str(body["expires_at"])}
    assert made["secret"][-43:] not in json.dumps(listed)
    row = await uow.reads.api_tokens.find(int(ours["token_id"]))
    assert len(row.secret_hash) == 32
    assert made["secret"][-43:].encode() not in row.secret_hash


async def test_a_token_of_no_role_or_of_the_past_is_not_made(guarded: Api, tokens: dict[str, str]) -> None:
    for body in (
        {"name": "x", "role": "root"},
        {"name": "", "role": "admin"},
        {"name": "x", "role": "host", "expires_at": 1},
    ):
        assert (await in_thread(rest, guarded, "POST", "/v1/api-tokens", tokens["admin"], body))[0] == 400


async def test_the_last_use_is_noted_at_most_once_a_minute(uow: Any) -> None:
    async with uow() as tx:
        row = await tx.api_tokens.add(name="x", role="viewer", secret_hash=bytes(32), expires_at=None)
        now = clock.now()
        assert is_use_to_be_noted(row, now)
        noted = []
        for second in (0, 59, 60):
            await tx.api_tokens.mark_used(row.token_id, now=now + timedelta(seconds=second))
            await tx.refresh(row)
            noted.append(row.last_used_at)
        assert noted == [now, now, now + timedelta(seconds=60)]
        assert not is_use_to_be_noted(row, now + timedelta(seconds=119))


async def test_the_command_line_makes_the_first_token(guarded: Api, database_url: str) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "manman_api", "create-token", *arguments],
            env={**os.environ, "PG_DATABASE_URL": database_url},  # noqa: TID251 - the program inherits ours
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    made = await in_thread(command, "--name", "first", "--role", "admin", "--days", "1")
    assert (made.returncode, made.stderr) == (0, "")
    status, listed, _ = await in_thread(rest, guarded, "GET", "/v1/api-tokens", made.stdout.strip())
    assert (status, [one["name"] for one in listed["tokens"]]) == (200, ["first"])
    _, audit, _ = await in_thread(rest, guarded, "GET", "/v1/audit-entries", made.stdout.strip())
    assert [(one["subject"], one["code"], one["ids"]) for one in audit["entries"]] == [
        ("command line", "OK", {"token_id": listed["tokens"][0]["token_id"]})
    ]
    assert (await in_thread(command, "--name", "x", "--role", "root")).returncode == 2


async def reflected(api: Api) -> tuple[grpc.StatusCode, str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    return await first_of(stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))


async def first_of(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        async for _ in call:
            break
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return OK, ""


async def in_thread(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)
