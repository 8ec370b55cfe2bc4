"""Every setting is in docs/configuration.md, and the compose file and the settings agree."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("api", "processor", "migration", "host", "wrapper", "ui")


def variables(service: str) -> dict[str, bool]:
    """Environment names of a service's settings, and whether each must be given."""
    settings: type[BaseSettings] = importlib.import_module(f"manman_{service}.settings").Settings
    names = {}
    for field, info in settings.model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else field
        names[alias.upper()] = info.is_required()
        for choice in getattr(info.validation_alias, "choices", []):
            names.setdefault(str(choice).upper(), False)
    return names


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_documented(service: str) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in variables(service) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("service", ["api", "processor", "migration", "host", "ui"])
def test_the_compose_file_gives_what_a_service_must_be_given(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"][service].get("environment", {})
    given = set(environment if isinstance(environment, dict) else (item.split("=")[0] for item in environment))
    assert [name for name, required in variables(service).items() if required and name not in given] == []


@pytest.mark.parametrize("service", ["api", "processor", "migration", "host", "ui"])
def test_the_compose_file_sets_nothing_that_a_service_does_not_read(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"][service].get("environment", {})
    given = set(environment if isinstance(environment, dict) else (item.split("=")[0] for item in environment))
    foreign = {"DOCKER_HOST"}  # read by the Docker library itself
    assert given - set(variables(service)) - foreign == set()
