"""People who log in at an OpenID Connect provider: their access tokens (JWTs) to callers.

A token counts when one of the issuer's keys signed it with one of ALGORITHMS, it is of this issuer and for our client
id, and its times are right within LEEWAY_S. The issuer's keys are found by its discovery document and kept; a key id
that is not known makes them be read again, at most every RETRY_AFTER_S, because anybody can invent key ids. Keys in
the token itself are never looked at.

Not here: how people get their tokens. That is between them (or the page) and the provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx2
import structlog
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import JWKRegistry, Key

from manman.errors import Unauthenticated, Unavailable
from manman.rpc.access import ROLES, Caller
from manman.v1.permissions_pb2 import ROLE_UNSPECIFIED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from manman.v1.permissions_pb2 import Role

ALGORITHMS = ("RS256", "PS256", "ES256")
LEEWAY_S = 60
KEYS_MAX_AGE_S = 3600.0
RETRY_AFTER_S = 10.0
FETCH_TIMEOUT_S = 5.0
MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_TOKEN_BYTES = 16 * 1024
MAX_SUBJECT = 255
"""Characters in a subject: the standard's own limit (OpenID Connect Core, section 2)."""

_DISCOVERY = "/.well-known/openid-configuration"
_NOT_ACCESS = frozenset({"ID", "Refresh", "Logout"})

log = structlog.get_logger(__name__)


class Issuer:
    """The provider of one issuer URL, and its keys. `audience` is our client id, `roles` its words for our roles."""

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        roles: Mapping[str, str],
        now: Callable[[], datetime],
        http: httpx2.AsyncClient,
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        self._url = url
        self._audience = audience
        self._roles = roles
        self._now = now
        self._http = http
        self._retry_after_s = retry_after_s
        self._keys: dict[str, Key] = {}
        self._read_at = self._tried_at = -KEYS_MAX_AGE_S
        self._reading = asyncio.Lock()

    async def ready(self) -> None:
        """Return when the issuer's keys are known; raises Unavailable."""
        if not self._keys:
            await self._read_keys(time.monotonic())

    async def verify(self, token: str) -> Caller:
        """Return who holds an access token; raises Unauthenticated, or Unavailable when no key can be had."""
        key = await self._key_of(token)
        try:
            claims = jwt.decode(token, key, algorithms=ALGORITHMS).claims
            self._rules().validate(claims)
        except ExpiredTokenError as error:
            raise Unauthenticated("this access token has expired; log in again") from error
        except (JoseError, ValueError, RecursionError) as error:
            log.info("access_token_refused", reason=str(error))
            raise Unauthenticated("this access token is not valid here") from error
        if claims.get("typ") in _NOT_ACCESS:
            raise Unauthenticated("this is not an access token")
        subject = claims["sub"]
        if len(subject) > MAX_SUBJECT or not subject.isprintable():
            raise Unauthenticated("the subject of this access token is not one that a provider may give")
        return Caller(f"oidc:{subject}", self._role_of(claims))

    def _rules(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self._now().timestamp()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._url},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    def _role_of(self, claims: Mapping[str, Any]) -> Role.ValueType:
        """Return the highest of our roles that the token's realm roles mean; none is ROLE_UNSPECIFIED."""
        access = claims.get("realm_access")
        given = access.get("roles") if isinstance(access, dict) else None
        ours = {self._roles.get(name) for name in given if isinstance(name, str)} if isinstance(given, list) else set()
        return next((role for word, role in reversed(ROLES.items()) if word in ours), ROLE_UNSPECIFIED)

    async def _key_of(self, token: str) -> Key:
        """Return the issuer's key that the token names."""
        key_id = _key_id_of(token)
        asked_at = time.monotonic()
        is_old = asked_at - self._read_at > KEYS_MAX_AGE_S
        if key_id not in self._keys or (is_old and not self._reading.locked()):
            await self._refresh(asked_at)
        if key_id not in self._keys:
            raise Unauthenticated("this access token is signed with a key that the issuer does not have")
        return self._keys[key_id]

    async def _refresh(self, asked_at: float) -> None:
        """Read the keys unless that was tried a moment ago. Known keys stay while the issuer is away."""
        try:
            await self._read_keys(asked_at)
        except Unavailable as error:
            if not self._keys:
                raise
            log.warning("issuer_keys_not_read", reason=str(error))

    async def _read_keys(self, asked_at: float) -> None:
        """Read the issuer's keys, one caller at a time; raises Unavailable."""
        async with self._reading:
            if asked_at - self._tried_at < self._retry_after_s:  # perhaps while we waited for the lock
                if not self._keys:
                    raise Unavailable("the login provider cannot be reached")
                return
            self._tried_at = time.monotonic()
            found = await self._get(self._url.rstrip("/") + _DISCOVERY)
            if found.get("issuer") != self._url:
                raise Unavailable("the login provider calls itself something else than GRPC_OIDC_ISSUER")
            document = await self._get(str(found.get("jwks_uri")))
            keys = _signing_keys(document.get("keys"))
            if not keys:
                raise Unavailable("the login provider has no key that could sign access tokens")
            self._keys = keys
            self._read_at = time.monotonic()
            log.info("issuer_keys_read", key_ids=sorted(keys))

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S), self._http.stream("GET", url) as answer:
                answer.raise_for_status()
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise Unavailable("the login provider answers with too much")
            document = httpx2.Response(200, content=body).json()
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
            log.warning("issuer_not_reached", url=url, reason=str(error) or type(error).__name__)
            raise Unavailable("the login provider cannot be reached") from error
        if not isinstance(document, dict):
            raise Unavailable("the login provider answers with something else than an object")
        return document


@contextlib.asynccontextmanager
async def issuer(
    url: str,
    *,
    audience: str,
    roles: Mapping[str, str],
    now: Callable[[], datetime],
    retry_after_s: float = RETRY_AFTER_S,
) -> AsyncIterator[Issuer]:
    """Give the issuer at `url` while the block runs."""
    async with httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False) as http:
        yield Issuer(url, audience=audience, roles=roles, now=now, http=http, retry_after_s=retry_after_s)


def read_roles(text: str) -> dict[str, str]:
    """Read `their-role=our-role` pairs between commas; raises ValueError with what is wrong."""
    roles: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        theirs, separator, ours = (part.strip() for part in pair.rpartition("="))
        if not separator or not theirs or ours not in ROLES:
            raise ValueError(f"{pair!r} is not a pair such as manman-admin=admin; our roles: {', '.join(ROLES)}")
        roles[theirs] = ours
    return roles


def _key_id_of(token: str) -> str:
    """Return the key id in a token's header, which nobody has vouched for yet."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise Unauthenticated("this is not an access token")
    try:
        key_id = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, RecursionError) as error:
        raise Unauthenticated("this is neither an API token nor an access token") from error
    if not isinstance(key_id, str):
        raise Unauthenticated("this access token does not say which key signed it")
    return key_id


def _signing_keys(documents: object) -> dict[str, Key]:
    """Return the public keys that may sign tokens, by key id; what we cannot read is for somebody else."""
    keys: dict[str, Key] = {}
    for document in documents if isinstance(documents, list) else ():
        if not isinstance(document, dict) or document.get("kty") not in {"RSA", "EC"}:
            continue
        key_id = document.get("kid")
        if not isinstance(key_id, str) or document.get("use", "sig") != "sig":
            continue
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            keys[key_id] = JWKRegistry.import_key(document)
    return keys
