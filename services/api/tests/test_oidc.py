"""Access tokens of a provider: which ones count, what role they mean, and what happens when keys change."""

import base64
import contextlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import ValidationError

from manman import clock
from manman.errors import Unauthenticated, Unavailable
from manman.v1 import access_control_pb2, access_control_pb2_grpc, games_pb2, permissions_pb2
from manman_api import oidc
from manman_api.handlers.access import create_token

from .conftest import served, settings_for

ROLES = oidc.read_roles("boss=admin,worker=operator,guest=viewer")
FIRST = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
CURVE = ECKey.generate_key("P-256", {"kid": "curve"})
SECOND = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
FOR_ENCRYPTION = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})


class Provider:
    """A provider on a port of its own; tests change its keys, its name, or end it."""

    def __init__(self) -> None:
        self.keys: list[Any] = [FIRST, CURVE, FOR_ENCRYPTION]
        self.asked: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                body = json.dumps(provider.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = self.name = f"http://127.0.0.1:{self._server.server_address[1]}/realms/games"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, path: str) -> object:
        if path.endswith("openid-configuration"):
            return {"issuer": self.name, "jwks_uri": f"{self.url}/keys"}
        other = {"kty": "OKP", "crv": "X25519", "kid": "odd", "x": "AA"}
        return {"keys": [*(key.as_dict(private=False) for key in self.keys), other, "nonsense"]}

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(clock.now().timestamp())
        usual = {"iss": self.url, "aud": ["account", "manman"], "sub": "u-1", "exp": now + 300, "iat": now}
        claims = {**usual, "typ": "Bearer", "realm_access": {"roles": ["offline_access", "guest"]}, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: Any = FIRST, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
        head = {"alg": alg, "kid": key.kid, **(header or {})}
        return jwt.encode({k: v for k, v in head.items() if v is not None}, self.claims(**changes), key, [alg])


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    with contextlib.suppress(OSError):
        provider.end()


@contextlib.asynccontextmanager
async def issuer(provider: Provider, retry_after_s: float = 0.0) -> AsyncIterator[oidc.Issuer]:
    async with oidc.issuer(
        provider.url, audience="manman", roles=ROLES, now=clock.now, retry_after_s=retry_after_s
    ) as opened:
        yield opened


def packed(part: object) -> str:
    return unpadded(json.dumps(part).encode())


def unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def now_and(seconds: int) -> int:
    return int(clock.now().timestamp()) + seconds


async def test_tokens_of_the_issuer_for_us_count(provider: Provider) -> None:
    good = [
        provider.token(),
        provider.token(CURVE, "ES256"),
        provider.token(alg="PS256"),
        provider.token(aud="manman"),
        provider.token(exp=now_and(-30)),
        provider.token(nbf=now_and(30), iat=now_and(30)),
    ]
    async with issuer(provider) as checked:
        for token in good:
            assert (await checked.verify(token)).subject == "oidc:u-1"
    assert len(provider.asked) == 2


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"exp": -90},
    "not yet valid": {"nbf": 90},
    "from the future": {"iat": 90},
    "without an end": {"exp": None},
    "of another issuer": {"iss": "https://elsewhere"},
    "for another audience": {"aud": "account"},
    "without an audience": {"aud": None},
    "of nobody": {"sub": None},
    "of somebody with a name too long": {"sub": "u" * 256},
    "of somebody with a name that cannot be written": {"sub": "u\x00"},
    "with an end that is no number": {"exp": "soon"},
    "an ID token": {"typ": "ID"},
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_token_with_wrong_claims_does_not_count(name: str, provider: Provider) -> None:
    changes = {key: now_and(value) if isinstance(value, int) else value for key, value in WRONG[name].items()}
    async with issuer(provider) as checked:
        with pytest.raises(Unauthenticated):
            await checked.verify(provider.token(**changes))


async def test_a_token_that_the_issuer_did_not_sign_does_not_count(provider: Provider) -> None:
    forger = RSAKey.generate_key(2048, {"kid": "first"})
    unsigned = ".".join(packed(part) for part in ({"alg": "none", "kid": "first"}, provider.claims()))
    symmetric = ".".join(packed(part) for part in ({"alg": "HS256", "kid": "first"}, provider.claims()))
    mac = hmac.digest(FIRST.as_pem(private=False), symmetric.encode(), "sha256")
    head, body, signature = provider.token().split(".")
    forged = [
        provider.token(forger),
        provider.token(forger, header={"jwk": forger.as_dict(private=False)}),
        f"{symmetric}.{unpadded(mac)}",
        provider.token(RSAKey.import_key(FOR_ENCRYPTION.as_pem(private=True), {"kid": "enc"})),
        provider.token(SECOND),
        provider.token(header={"kid": None}),
        f"{unsigned}.",
        f"{head}.{body}.",
        f"{head}.{body[:-4]}AAAA.{signature}",
        f"{head}.{body}",
    ]
    async with issuer(provider) as checked:
        for token in forged:
            with pytest.raises(Unauthenticated):
                await checked.verify(token)


NONSENSE = [
    "x",
    "..",
    "a.b.c",
    "é.é.é",
    "W10.W10.W10",
    "bnVsbA.e30.",
    "A" * 20_000,
    "e30.e30.e30",
    f"{'W1tb' * 4000}..",
]


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:12])
async def test_what_is_no_token_is_refused(text: str, provider: Provider) -> None:
    async with issuer(provider) as checked:
        with pytest.raises(Unauthenticated):
            await checked.verify(text)


@pytest.mark.parametrize(
    ("given", "role"),
    [
        ({"roles": ["guest", "boss", "worker"]}, permissions_pb2.ROLE_ADMIN),
        ({"roles": ["worker"]}, permissions_pb2.ROLE_OPERATOR),
        ({"roles": ["admin", 7, None, ["boss"]]}, permissions_pb2.ROLE_UNSPECIFIED),
        ({"roles": "boss"}, permissions_pb2.ROLE_UNSPECIFIED),
        ({}, permissions_pb2.ROLE_UNSPECIFIED),
        ("boss", permissions_pb2.ROLE_UNSPECIFIED),
        (None, permissions_pb2.ROLE_UNSPECIFIED),
    ],
)
async def test_the_highest_mapped_realm_role_counts(given: object, role: int, provider: Provider) -> None:
    async with issuer(provider) as checked:
        assert (await checked.verify(provider.token(realm_access=given))).role == role


async def test_a_new_key_is_found_when_a_token_names_it_and_an_old_one_goes(provider: Provider) -> None:
    async with issuer(provider) as checked:
        await checked.verify(provider.token())
        provider.keys = [SECOND]
        await checked.verify(provider.token(SECOND))
        with pytest.raises(Unauthenticated, match="does not have"):
            await checked.verify(provider.token())


async def test_invented_key_ids_do_not_make_us_ask_the_issuer_each_time(provider: Provider) -> None:
    async with issuer(provider, retry_after_s=60) as checked:
        await checked.verify(provider.token())
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await checked.verify(provider.token(header={"kid": f"k{number}"}))
    assert len(provider.asked) == 2


async def test_known_keys_count_while_the_issuer_is_away(provider: Provider) -> None:
    async with issuer(provider) as checked:
        await checked.verify(provider.token())
        provider.end()
        await checked.verify(provider.token())
        with pytest.raises(Unauthenticated):
            await checked.verify(provider.token(SECOND))


async def test_without_any_key_callers_are_told_to_come_again(provider: Provider) -> None:
    token = provider.token()
    async with issuer(provider) as checked:
        provider.name = "https://somebody-else"
        with pytest.raises(Unavailable, match="GRPC_OIDC_ISSUER"):
            await checked.verify(token)
        provider.end()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await checked.ready()


async def test_the_api_takes_both_kinds_of_tokens_and_records_the_subject(
    provider: Provider, database_url: str, amqp_url: str, uow: Any
) -> None:
    settings = {
        "grpc_auth_mode": "oidc",
        "grpc_oidc_issuer": provider.url,
        "grpc_oidc_client_id": "manman",
        "grpc_oidc_roles": "boss=admin,guest=viewer",
    }
    _, secret = await create_token(name="ci", role="admin", expires_at=None, now=clock.now(), uow=uow)
    async with served(database_url, amqp_url, **settings) as api:

        async def make(token: str, name: str) -> grpc.StatusCode:
            try:
                await api.control.CreateGame(
                    games_pb2.CreateGameRequest(name=name), metadata=(("authorization", f"Bearer {token}"),)
                )
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert await make(provider.token(realm_access={"roles": ["boss"]}), "a") is grpc.StatusCode.OK
        assert await make(provider.token(), "b") is grpc.StatusCode.PERMISSION_DENIED
        assert await make(provider.token(realm_access=None), "c") is grpc.StatusCode.PERMISSION_DENIED
        assert await make(secret, "d") is grpc.StatusCode.OK
        assert await make("x", "e") is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError):
            await api.control.ListGames(games_pb2.ListGamesRequest())
        stub = access_control_pb2_grpc.AccessControlStub(api.channel)
        listed = await stub.ListAuditEntries(
            access_control_pb2.ListAuditEntriesRequest(), metadata=(("authorization", f"Bearer {secret}"),)
        )
    assert [(one.subject, one.role, one.code) for one in reversed(listed.entries)] == [
        ("oidc:u-1", "admin", "OK"),
        ("oidc:u-1", "viewer", "PERMISSION_DENIED"),
        ("oidc:u-1", "unspecified", "PERMISSION_DENIED"),
        ("mm_1:ci", "admin", "OK"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grpc_auth_mode": "oidc"}, "needs GRPC_OIDC_ISSUER"),
        ({"grpc_oidc_issuer": "login.example.org"}, "pattern"),
        ({"grpc_oidc_roles": "boss=root"}, "our roles: viewer, host, operator, admin"),
    ],
)
def test_half_an_issuer_is_refused_at_start(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings_for("postgresql://x/y", "amqp://x", **changes)
