"""Which web pages may change something through REST: those of our own origin, and those of origins that are allowed.

A browser sends what a page of any site asks for, and behind a firewall that is enough to reach us. Programs that are
no browsers send neither of the headers below and are not meant. The rules are those of Go's CrossOriginProtection.

Not here: what pages of allowed origins may *read*; that is CORS, and Starlette's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SAFE_METHODS = frozenset({"GET", "HEAD"})


def may_call(http_method: str, headers: Mapping[str, str], allowed: Collection[str]) -> bool:
    """Tell whether a request with these headers (names in lower case) may go on."""
    origin = headers.get("origin")
    if http_method in SAFE_METHODS or origin in allowed:
        return True
    site = headers.get("sec-fetch-site")  # browsers send it over TLS and to localhost, and no page can change it
    if site is not None:
        return site in {"same-origin", "none"}
    return origin is None or urlsplit(origin).netloc == headers.get("host")
