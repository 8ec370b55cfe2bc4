"""Every setting is in docs/configuration.md, and the compose file and the settings agree."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from manman_devstack.variables import variables

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("api", "processor", "migration", "host", "wrapper", "ui")


def needed(service: str) -> dict[str, bool]:
    """Environment names of a service's settings, and whether each must be given."""
    found = variables(importlib.import_module(f"manman_{service}.settings").Settings).values()
    return {one.name: one.required for one in found} | {name: False for one in found for name in one.others}


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_documented(service: str) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in needed(service) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("service", ["api", "processor", "migration", "host", "ui"])
def test_the_compose_file_gives_what_a_service_must_be_given(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"][service].get("environment", {})
    given = set(environment if isinstance(environment, dict) else (item.split("=")[0] for item in environment))
    assert [name for name, required in needed(service).items() if required and name not in given] == []


@pytest.mark.parametrize("service", ["api", "processor", "migration", "host", "ui"])
def test_the_compose_file_sets_nothing_that_a_service_does_not_read(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"][service].get("environment", {})
    given = set(environment if isinstance(environment, dict) else (item.split("=")[0] for item in environment))
    foreign = {"DOCKER_HOST"}  # read by the Docker library itself
    assert given - set(needed(service)) - foreign == set()
