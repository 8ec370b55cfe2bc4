"""There is a wrapper for each running game: it loads nothing that it can do without."""

from __future__ import annotations

import subprocess
import sys

NOT_IN_A_WRAPPER = {
    "pydantic",  # its settings are checked without it: docs/adr/0026
    "pydantic_settings",
    "prometheus_client",  # nobody can ask it for metrics
    "http.client",
    "http.server",
    "urllib.request",
    "email",
    "docker",  # it speaks to the engine itself: docs/adr/0016
    "requests",
    "opentelemetry",
    "google.protobuf.json_format",
    "protovalidate",
    "sqlalchemy",
    "psycopg",
    "aio_pika",
    "fastapi",
    "uvicorn",
    "manman.settings",
    "manman.health",
    "manman.bus",
    "manman.db",
    "manman.messages",
    "manman.v1.api_pb2",
    "manman.v1.workshop_pb2",
}


def test_a_wrapper_loads_nothing_that_it_can_do_without() -> None:
    program = "import sys, manman_wrapper.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "manman_wrapper.app" in loaded
    assert sorted(NOT_IN_A_WRAPPER.intersection(loaded)) == []
