"""Pulls: by the real engine from a registry of the test's own, and one that never ends, from an engine like it."""

from __future__ import annotations

import http.server
import json
import socketserver
import tempfile
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manman.errors import Conflict
from manman_devstack.image_registry import ImageRegistry
from manman_host.docker_engine import DockerEngine
from manman_host.docker_images import ImageUnavailableError
from manman_host.pull_progress import PullProgress
from manman_host.registry_credentials import credentials_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

LOGIN = "bot:s3cret-word"
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
            await engine.images.ensure("slow:1", "always", say=print, percent=print, timeout_s=0.3)
        assert server.hung_up.wait(5)
        server.shutdown()


def auth_file(folder: Path, content: object) -> str:
    path = folder / "auth.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def login_at(registry: str, login: str = LOGIN) -> dict[str, object]:
    return {"auths": {registry: {"auth": b64encode(login.encode()).decode()}}}


@pytest.fixture
def private_registry(engine: docker.DockerClient) -> Iterator[ImageRegistry]:
    with ImageRegistry(LOGIN) as registry:
        yield registry
        for image in engine.images.list(name=registry.image):
            engine.images.remove(str(image.id), force=True)


async def test_an_image_of_a_private_registry_is_pulled_with_the_credentials_of_the_file(
    private_registry: ImageRegistry, docker_host: str, tmp_path: Path
) -> None:
    file = auth_file(tmp_path, login_at(private_registry.address))
    images = DockerEngine(docker_host, registry_auth_file=file).images
    said: list[str] = []
    percents: list[int] = []
    await images.ensure(private_registry.image, "always", say=said.append, percent=percents.append, timeout_s=60)
    assert await images.has(private_registry.image)
    assert percents == sorted(set(percents))
    assert percents[-1] == 100
    assert len([percent for percent in percents if 0 < percent < 100]) >= 2
    assert LOGIN.partition(":")[2] not in " ".join(said)


@pytest.mark.parametrize("login", ["bot:wrong-word", ""])
async def test_a_refused_pull_says_so_and_never_what_was_in_the_file(
    private_registry: ImageRegistry, docker_host: str, tmp_path: Path, login: str
) -> None:
    registry = private_registry.address if login else "elsewhere.example"
    file = auth_file(tmp_path, login_at(registry, login or LOGIN))
    images = DockerEngine(docker_host, registry_auth_file=file).images
    with pytest.raises(ImageUnavailableError, match="cannot be pulled") as refused:
        await images.ensure(private_registry.image, "if-not-present", say=print, percent=print, timeout_s=60)
    assert "word" not in str(refused.value)


async def test_an_image_that_is_here_is_used_when_its_registry_is_not(
    private_registry: ImageRegistry, docker_host: str, tmp_path: Path
) -> None:
    file = auth_file(tmp_path, login_at(private_registry.address))
    images = DockerEngine(docker_host, registry_auth_file=file).images
    await images.ensure(private_registry.image, "always", say=print, percent=print, timeout_s=60)
    auth_file(tmp_path, login_at(private_registry.address, "bot:changed"))
    said: list[str] = []
    await images.ensure(private_registry.image, "always", say=said.append, percent=print, timeout_s=60)
    assert "the one on this host is used" in said[-1]


@pytest.mark.parametrize(
    "content",
    ["", "nonsense s3cret", "[1]", {"auths": {"r.example": "s3cret"}}, {"auths": {"r.example": {"auth": "s3cret!"}}}],
)
def test_a_broken_file_of_credentials_is_named_and_not_quoted(tmp_path: Path, content: object) -> None:
    with pytest.raises(Conflict, match="REGISTRY_AUTH_FILE") as refused:
        credentials_for("r.example/game", auth_file(tmp_path, content))
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_missing_file_of_credentials_is_named(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="cannot be read"):
        credentials_for("r.example/game", str(tmp_path / "nowhere"))


def test_credentials_are_for_their_registry_only(tmp_path: Path) -> None:
    file = auth_file(tmp_path, login_at("https://r.example/v2/"))
    assert (credentials_for("r.example/a/game", file) or {})["password"] == "s3cret-word"
    assert credentials_for("r.example:5000/a/game", file) == {}
    assert credentials_for("game", file) == {}
    assert credentials_for("game", "") is None


def test_the_percent_of_a_pull_never_falls_and_ends_at_a_hundred() -> None:
    progress = PullProgress()
    events = [
        {"status": "Pulling from game", "id": "1"},
        {"status": "Pulling fs layer", "id": "a"},
        {"status": "Pulling fs layer", "id": "b"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 50, "total": 100}},
        {"status": "Download complete", "id": "a"},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 100, "total": 900}},
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 100, "total": 100}},
        {"status": "Pull complete", "id": "a"},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 900, "total": 900}},
        {"status": "Pull complete", "id": "b"},
    ]
    assert [progress.see(event) for event in events] == [0, 0, 0, 20, 40, 40, 40, 40, 82, 100]
