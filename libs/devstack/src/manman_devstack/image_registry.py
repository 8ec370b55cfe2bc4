"""A container registry with one small image in it, for tests of pulls: HTTP, the v2 API, a password if one is set."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import time
from types import TracebackType
from typing import Self

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CHUNK_BYTES = 64 * 1024
_PAUSE_S = 0.03


class ImageRegistry(http.server.ThreadingHTTPServer):
    """Serves an image on a port of this machine while entered; slowly, so that progress can be seen.

    `login` is `user:password`, empty for none; `refusals` counts who did not know it. While `opened` is cleared nobody
    gets an answer.
    """

    daemon_threads = True

    def __init__(self, login: str = "", *, layers: int = 3, layer_bytes: int = 512 * 1024) -> None:
        self.login = login
        self.refusals = 0
        self.opened = threading.Event()
        self.opened.set()
        parts = [_layer(number, layer_bytes) for number in range(layers)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/game"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(part)) for part in parts]},
        }
        content = json.dumps(config).encode()
        self.blobs = {_digest(blob): blob for blob in [*parts, content]}
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": _digest(content), "size": len(content)},
            "layers": [{"mediaType": _LAYER, "digest": _digest(part), "size": len(part)} for part in parts],
        }
        self.manifest = json.dumps(manifest).encode()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        """Where it listens (`host:port`)."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def image(self) -> str:
        """The name of its image."""
        return f"{self.address}/game:1"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.opened.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ImageRegistry

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        del format, args

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.opened.wait()
        wanted = f"Basic {base64.b64encode(self.server.login.encode()).decode()}"
        if self.server.login and self.headers.get("Authorization") != wanted:
            self.server.refusals += 1
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="test"'})
        elif self.path == "/v2/":
            self._answer(200, b"{}")
        elif "/manifests/" in self.path:
            body = self.server.manifest
            self._answer(200, body, {"Content-Type": _MANIFEST, "Docker-Content-Digest": _digest(body)})
        elif (blob := self.server.blobs.get(self.path.rpartition("/")[2])) is not None:
            self._answer(200, blob)
        else:
            self._answer(404, b"{}")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), _CHUNK_BYTES):
            self.wfile.write(body[start : start + _CHUNK_BYTES])
            time.sleep(_PAUSE_S)


def _layer(number: int, size_bytes: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"part-{number}")
        member.size = size_bytes
        tar.addfile(member, io.BytesIO(os.urandom(size_bytes)))
    return gzip.compress(buffer.getvalue(), compresslevel=1)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
