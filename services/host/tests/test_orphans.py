from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from manman.bus.publisher import Publisher
from manman.errors import Unavailable
from manman_host.announcer import Announcer
from manman_host.docker_engine import DockerEngine
from manman_host.identity import Identity
from manman_host.orphans import sweep_orphans
from manman_host.session_folder import DataFolder
from manman_host.session_start import Parts
from manman_host.settings import Settings

if TYPE_CHECKING:
    from conftest import World

GRACE = timedelta(minutes=5)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = CREATED + timedelta(minutes=6)


@pytest.fixture
def parts(world: World) -> Parts:
    settings = Settings(host_data_dir=str(world.folder), environment=world.environment)
    identity = Identity(world.server_id, "test", world.environment, uuid4())
    return Parts(
        settings,
        identity,
        DockerEngine(world.variables["DOCKER_HOST"]),
        DataFolder(inner=Path(world.folder), outer=Path(world.folder), environment=world.environment),
        Announcer(Publisher(world.connection), identity),
        asyncio.Semaphore(1),
    )


def leave(world: World, **labels: str) -> Any:
    own = {
        "type": "game",
        "managed_by": "manman-host",
        "server_id": str(world.server_id),
        "environment": world.environment,
        "session_id": "5",
        "created_at": CREATED.isoformat(),
        **labels,
    }
    return world.engine.containers.run(
        world.image,
        ["sleep", "60"],
        detach=True,
        init=True,
        labels={f"manman.{key}": value for key, value in own.items()},
    )


async def ended(_session_id: int) -> bool:
    return False


async def live(_session_id: int) -> bool:
    return True


async def nobody_answers(_session_id: int) -> bool:
    raise Unavailable("the API is away")


async def sweep(parts: Parts, **changes: Any) -> int:
    values = {"known": frozenset(), "may_run": ended, "grace": GRACE, "now": LATER, "dry_run": False, **changes}
    return await sweep_orphans(parts, **values)


async def test_an_orphan_older_than_the_grace_is_removed_with_its_network(world: World, parts: Parts) -> None:
    leave(world)
    labels = {
        "manman.type": "network",
        "manman.managed_by": "manman-host",
        "manman.server_id": str(world.server_id),
        "manman.environment": world.environment,
        "manman.session_id": "5",
        "manman.created_at": CREATED.isoformat(),
    }
    world.engine.networks.create(f"session-{world.environment}-5", labels=labels)
    assert await sweep(parts) == 2
    await world.clean()


@pytest.mark.parametrize(
    "changes",
    [
        {"now": CREATED + timedelta(minutes=4)},
        {"known": frozenset({5})},
        {"may_run": live},
        {"dry_run": True},
    ],
    ids=["within the grace", "known here", "live for the control plane", "dry run"],
)
async def test_what_may_still_be_wanted_is_left_alone(world: World, parts: Parts, changes: dict[str, Any]) -> None:
    left = leave(world)
    assert await sweep(parts, **changes) == 0
    left.reload()
    assert left.status == "running"


async def test_nothing_is_removed_while_the_control_plane_cannot_be_asked(world: World, parts: Parts) -> None:
    left = leave(world)
    with pytest.raises(Unavailable):
        await sweep(parts, may_run=nobody_answers)
    left.reload()
    assert left.status == "running"


@pytest.mark.parametrize(
    "labels", [{"server_id": "1"}, {"managed_by": "me"}, {"created_at": "yesterday"}, {"session_id": ""}]
)
async def test_what_is_not_clearly_ours_is_left_alone(world: World, parts: Parts, labels: dict[str, str]) -> None:
    left = leave(world, **labels)
    assert await sweep(parts) == 0
    left.reload()
    assert left.status == "running"


async def test_the_environments_without_a_name_and_with_one_are_apart(world: World, parts: Parts) -> None:
    nameless = Parts(
        parts.settings,
        Identity(world.server_id, "test", "", uuid4()),
        parts.engine,
        parts.data,
        parts.announcer,
        parts.starts,
    )
    left = leave(world)
    assert await sweep(nameless) == 0
    left.reload()
    assert left.status == "running"


async def test_a_session_folder_without_containers_is_removed_after_the_grace(world: World, parts: Parts) -> None:
    old, young = parts.data.session(5).inner, parts.data.session(6).inner
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (CREATED.timestamp(), CREATED.timestamp()))
    (world.folder / f"sgc-{world.environment}-41").mkdir()
    assert await sweep(parts) == 1
    assert sorted(path.name for path in world.folder.iterdir()) == sorted([young.name, f"sgc-{world.environment}-41"])
