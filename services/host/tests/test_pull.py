"""An engine whose pull never ends, spoken to over a real socket: no registry can be asked to be that slow."""

from __future__ import annotations

import http.server
import json
import socketserver
import tempfile
import threading
import time
from pathlib import Path

import pytest

from manman_host.docker_engine import DockerEngine
from manman_host.docker_images import ImageUnavailableError

STATUS = b'{"status":"Downloading"}\r\n'


class SlowEngine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.hung_up = threading.Event()
        super().__init__(str(path), SlowPull)


class SlowPull(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SlowEngine

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        del format, args

    def do_GET(self) -> None:
        known = "version" in self.path
        body = json.dumps({"ApiVersion": "1.41"} if known else {"message": "No such image"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(STATUS), STATUS))
                time.sleep(0.05)
        except OSError:
            self.server.hung_up.set()


async def test_a_pull_that_is_given_up_ends_and_holds_no_thread() -> None:
    with tempfile.TemporaryDirectory(prefix="mmp") as folder, SlowEngine(Path(folder, "e.sock")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = DockerEngine(f"unix://{folder}/e.sock")
        with pytest.raises(ImageUnavailableError, match="more than"):
            await engine.images.ensure("slow:1", "always", lambda _: None, timeout_s=0.3)
        assert server.hung_up.wait(5)
        server.shutdown()
