"""Each package installs and imports with nothing but what it declares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")

# What each service must not drag in (design: the execution plane has no database, the wrapper is small).
FORBIDDEN = {
    "api": {"docker", "alembic"},
    "processor": {"fastapi", "docker", "alembic", "grpc_health"},
    "migration": {"fastapi", "docker", "aio_pika", "boto3", "grpc", "opentelemetry"},
    "host": {"sqlalchemy", "psycopg", "boto3", "fastapi"},
    "wrapper": {"sqlalchemy", "psycopg", "boto3", "fastapi", "aio_pika", "uvicorn", "opentelemetry"},
    "ui": {"sqlalchemy", "psycopg", "boto3", "aio_pika", "docker"},
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", sorted(FORBIDDEN))
def test_a_service_installs_and_imports_alone(service: str, tmp_path: Path) -> None:
    assert UV is not None, "uv is missing: run make setup"
    environment = {
        **os.environ,  # noqa: TID251 -- uv needs the caller's registry and certificate settings
        "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"),
        "UV_LINK_MODE": "hardlink",
    }
    environment.pop("VIRTUAL_ENV", None)
    sync = [UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--package", f"manman-{service}"]
    # uv keeps what it built until pyproject.toml changes: build our own packages from the sources of now
    sync += [f"--reinstall-package={package}" for package in ("manman-common", f"manman-{service}")]
    subprocess.run(sync, cwd=ROOT, env=environment, check=True)
    program = (
        f"import importlib.util, pkgutil, manman_{service} as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not module.name.endswith(('__main__', '.env')) and '.versions' not in module.name:\n"
        "        __import__(module.name)\n"
        f"print(*[name for name in {sorted(FORBIDDEN[service])!r} if importlib.util.find_spec(name)])\n"
    )
    run = subprocess.run(
        [str(tmp_path / "venv/bin/python"), "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
