"""What a game may do on its host: asked of the game itself, inside its container."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from manman.messages.commands import Isolation, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World

pytestmark = pytest.mark.usefixtures("host_here")

DEFAULT_CAPABILITIES = "00000000000004fb"
"""CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10."""

FACTS = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; echo told; sleep 60"


async def facts(world: World, **isolation: Any) -> dict[str, str]:
    """Run a game with that isolation and return what the kernel says of it."""
    await world.start(script=FACTS, isolation=Isolation(**isolation))
    lines = await world.lines_until("told")
    found = [line.message.split(":") for line in lines if ":" in line.message and line.source == "stdout"]
    return {name: value.strip() for name, value in found}


async def test_a_game_has_few_capabilities_and_can_gain_none(world: World) -> None:
    expected = {"CapEff": DEFAULT_CAPABILITIES, "CapBnd": DEFAULT_CAPABILITIES, "NoNewPrivs": "1"}
    assert await facts(world) == expected


async def test_a_game_has_no_capability_but_the_one_its_config_names(world: World) -> None:
    told = await facts(world, no_capabilities=True, extra_capabilities=["NET_RAW"])
    assert told == {"CapEff": "0000000000002000", "CapBnd": "0000000000002000", "NoNewPrivs": "1"}


async def test_processes_are_limited_and_the_network_is_the_sessions_own(world: World) -> None:
    await world.start()
    await world.reported("running")
    game = world.game()
    assert game.attrs["HostConfig"]["PidsLimit"] == 1024
    assert list(game.attrs["NetworkSettings"]["Networks"]) == [f"session-{world.environment}-1"]


async def test_with_a_read_only_root_a_game_writes_to_its_volumes_and_to_tmp_only(world: World) -> None:
    script = (
        "for path in /etc/x /x /tmp/x /data/x; do touch $path 2>/dev/null && echo wrote $path; done;"
        "cp /bin/true /tmp/program; /tmp/program && echo ran; echo told; sleep 60"
    )
    await world.start(
        script=script,
        isolation=Isolation(read_only_root=True),
        config={"volumes": [Volume(name="data", container_path="/data")]},
    )
    lines = await world.lines_until("told")
    assert [line.message for line in lines if line.source == "stdout"] == [
        "wrote /tmp/x",
        "wrote /data/x",
        "ran",
        "told",
    ]


async def test_with_an_init_a_stop_reaches_a_game_whose_shell_ignores_signals(world: World) -> None:
    await world.start(script="sleep 600; true", isolation=Isolation(init=True), stop_timeout_seconds=60)
    await world.reported("running")
    await world.stop()
    stopped = await world.reported("stopped", timeout_s=20)
    assert (stopped.exit_code, stopped.reason) == (143, "stopped")


@contextlib.contextmanager
def image_of(world: World, user: str) -> Iterator[str]:
    """Give an image that runs as `user`."""
    template = world.engine.containers.create(world.image, labels={"manman.environment": world.environment})
    image = template.commit("manman-test-user", tag=world.environment, changes=[f"USER {user}"])
    try:
        yield f"manman-test-user:{world.environment}"
    finally:
        world.remove_everything()
        world.engine.images.remove(str(image.id), force=True)


@pytest.mark.parametrize(("user", "owner"), [("games", (5, 60)), ("4242", (4242, 0)), ("games:1000", (5, 1000))])
async def test_a_data_folder_belongs_to_the_games_user_and_only_he_writes_to_it(
    world: World, user: str, owner: tuple[int, int]
) -> None:
    script = "touch /data/world && echo saved; sleep 60"
    with image_of(world, user) as image:
        volumes = [Volume(name="data", container_path="/data")]
        await world.start(script=script, config={"image": image, "volumes": volumes})
        await world.lines_until("saved")
        folder = world.folder / f"sgc-{world.environment}-41/data"
        assert (folder.stat().st_uid, folder.stat().st_gid) == owner
        assert folder.stat().st_mode & 0o777 == 0o755
        assert (folder / "world").stat().st_uid == owner[0]
