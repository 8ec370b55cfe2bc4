"""A machine goes down and comes back: what played on it plays again, where its policy says so, a few at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import docker
import pytest

from manman_devstack.control import by_rest
from manman_devstack.eventually import eventually
from manman_devstack.platform import Platform
from manman_devstack.stage import Database, Stage

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "HEARTBEAT_SECONDS": "0.5",
    "STALE_HOST_THRESHOLD_SECONDS": "2",
    "STALE_HOST_CHECK_INTERVAL_SECONDS": "0.3",
    "OUTBOX_POLL_SECONDS": "0.3",
    "RESTART_CHECK_INTERVAL_SECONDS": "0.2",
    "RESTART_INTERVAL_SECONDS": "0.2",
    "RESTART_BACKOFF_SECONDS": "1",
    "MAX_PARALLEL_STARTS": "1",
}
NEWEST = "SELECT * FROM sessions WHERE sgc_id = %s ORDER BY session_id DESC LIMIT 1"


@pytest.fixture
async def platform(echo_image: str) -> AsyncIterator[Platform]:  # noqa: ARG001 - its games need it
    async with Platform(parts=("api", "processor", "host"), settings=SETTINGS) as started:
        yield started


@pytest.fixture
async def stage(platform: Platform) -> AsyncIterator[Stage]:
    async with by_rest(platform.rest) as control:
        yield Stage(control)


def containers(client: docker.DockerClient, labels: list[str]) -> dict[int, set[str]]:
    """Return for each session which of its containers run: game, wrapper."""
    found: dict[int, set[str]] = {}
    for container in client.containers.list(filters={"label": labels}, ignore_removed=True):
        session_id = int(container.labels.get("manman.session_id") or 0)
        found.setdefault(session_id, set()).add(container.labels["manman.type"])
    return found


def go_down(client: docker.DockerClient, labels: list[str], gone: set[int]) -> None:
    """End every container as a power cut does, wrappers first, so that none sees an end; remove some altogether."""
    listed = client.containers.list(filters={"label": labels})
    for container in sorted(listed, key=lambda one: one.labels["manman.type"], reverse=True):
        container.kill()
        if int(container.labels["manman.session_id"]) in gone:
            container.remove(force=True)


async def test_after_a_reboot_games_are_started_again_by_their_policy_and_no_more_at_a_time_than_allowed(
    platform: Platform, database: Database, stage: Stage
) -> None:
    client, labels = docker.DockerClient(base_url=platform.docker_host), platform.labels
    server = await database.row("SELECT * FROM servers WHERE name = %s", platform.server_name)
    policies = ["on_crash", "always", "on_crash", "always", "never"]
    deployments = [await stage.deployment(server["server_id"], restart_policy={"policy": word}) for word in policies]
    before = [await stage.start(deployment_id) for deployment_id in deployments]
    for session_id in before:
        await eventually(lambda session_id=session_id: database.status_is(session_id, "running"), timeout_s=60)

    await platform.kill("host")
    await asyncio.to_thread(go_down, client, labels, set(before[:2]))
    offline = "SELECT 1 FROM servers WHERE server_id = %s AND status = 'offline'"
    await eventually(lambda: database.rows(offline, server["server_id"]), timeout_s=20)
    await platform.start("host")

    being_made = 0

    async def play_again() -> list[dict[str, Any]]:
        nonlocal being_made
        there = await asyncio.to_thread(containers, client, labels)
        half = [kinds for session_id, kinds in there.items() if session_id > before[-1] and "game" not in kinds]
        being_made = max(being_made, len(half))
        rows = [await database.row(NEWEST, deployment_id) for deployment_id in deployments]
        assert [row["status"] for row in rows] == ["running"] * 4 + ["crashed"]
        assert [row["restart_of_session_id"] for row in rows] == [*before[:4], None]
        return rows

    rows = await eventually(play_again, timeout_s=120)
    client.close()
    assert being_made <= int(SETTINGS["MAX_PARALLEL_STARTS"])
    assert rows[4]["session_id"] == before[4]
