"""Virtual hosts: how tests that share one broker never see each other; made over the management HTTP API."""

import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit


def management_url_for(amqp_url: str) -> str:
    """Return where the management API of a broker with the usual ports is."""
    parts = urlsplit(amqp_url)
    scheme, port = ("https", 15671) if parts.scheme == "amqps" else ("http", 15672)
    return f"{scheme}://{parts.username or 'guest'}:{parts.password or 'guest'}@{parts.hostname or '127.0.0.1'}:{port}"


def call(management_url: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON is any shape
    """Call the management API; return the decoded answer, or None when it has no body. HTTP errors raise."""
    parts = urlsplit(management_url)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the address is the developer's own
        f"{parts.scheme}://{parts.hostname}:{parts.port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - same
        text = answer.read()
    return json.loads(text) if text else None


@contextmanager
def fresh_vhost(amqp_url: str, management_url: str) -> Iterator[str]:
    """Make a virtual host of its own, give the URL for it, and delete it with all queues and connections afterwards."""
    name = f"test-{secrets.token_hex(6)}"
    user = quote(urlsplit(amqp_url).username or "guest", safe="")
    call(management_url, "PUT", f"/api/vhosts/{name}", {})
    try:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        call(management_url, "PUT", f"/api/permissions/{name}/{user}", everything)
        yield urlsplit(amqp_url)._replace(path=f"/{name}").geturl()
    finally:
        delete_vhost(management_url, name)


def delete_vhost(management_url: str, name: str) -> None:
    """Delete a virtual host; nothing happens when it is gone already."""
    try:
        call(management_url, "DELETE", f"/api/vhosts/{name}")
    except urllib.error.HTTPError as error:
        if error.code != 404:  # noqa: PLR2004 - not found
            raise
