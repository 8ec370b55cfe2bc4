"""The probes against the real game servers, built from examples/games and run on a real Docker engine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
from typing import TYPE_CHECKING, TypeVar

import docker
import pytest

from manman_devstack import images, probes
from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Answer = TypeVar("Answer")

OPENTTD_SETTINGS = """\
[network]
server_name = Probe ü test
server_password = let me in
server_game_type = local
max_clients = 9
[game_creation]
map_x = 6
map_y = 7
starting_year = 1950
"""


@contextlib.contextmanager
def game_server(
    docker_host: str, name: str, *, command: list[str], ports: list[str], setup: str = ""
) -> Iterator[dict[str, int]]:
    """Run the example game until the block ends; yields the host's port for each game port."""
    engine = docker.DockerClient(base_url=docker_host)
    image = engine.images.get(images.ensure_game(docker_host, name))
    own_entrypoint = " ".join(image.attrs["Config"]["Entrypoint"])
    container = engine.containers.create(
        image,
        command=command,
        entrypoint=["sh", "-c", f'{setup}\nexec {own_entrypoint} "$@"', name],
        ports=dict.fromkeys(ports, ("127.0.0.1", None)),
        stdin_open=True,
    )
    try:
        container.start()
        container.reload()
        yield {port: int(container.ports[port][0]["HostPort"]) for port in ports}
    finally:
        container.remove(force=True)
        engine.close()


async def test_openttd_tells_its_name_version_size_and_date(docker_host: str) -> None:
    setup = f"cat > /srv/openttd/openttd.cfg <<'END'\n{OPENTTD_SETTINGS}END"
    game_ports = ["3979/tcp", "3979/udp"]
    with game_server(docker_host, "openttd", command=["-D", "0.0.0.0:3979"], ports=game_ports, setup=setup) as ports:
        info = await answered(lambda: probes.openttd_info("127.0.0.1", ports["3979/tcp"]))

        assert info.server_name == "Probe ü test"
        assert info.version.startswith("13.")
        assert (info.clients_on, info.clients_max) == (0, 9)
        assert (info.map_width, info.map_height) == (64, 128)
        assert info.game_date - dt.date(1950, 1, 1) < dt.timedelta(days=365)
        assert info.has_password
        assert info.is_dedicated

        await probes.openttd_is_found("127.0.0.1", ports["3979/udp"])


async def answered(probe: Callable[[], Awaitable[Answer]]) -> Answer:
    """Probe until the game answers: its port accepts before it listens."""

    async def asked() -> list[Answer]:
        try:
            return [await probe()]
        except probes.ProbeError as error:
            raise AssertionError(str(error)) from error

    return (await eventually(asked, timeout_s=20))[0]


async def test_teeworlds_tells_its_name_map_and_players(docker_host: str) -> None:
    command = ["sv_register 0", "sv_name Probe test", "sv_map dm2", "sv_gametype ctf", "sv_max_clients 7"]
    with game_server(docker_host, "teeworlds", command=command, ports=["8303/udp"]) as ports:
        answer = await answered(lambda: probes.teeworlds_info("127.0.0.1", ports["8303/udp"]))

        assert answer.server_name == "Probe test"
        assert answer.version.startswith("0.7")
        assert (answer.map_name, answer.game_type) == ("dm2", "CTF")
        assert answer.players_on == 0


async def test_freeciv_lets_a_client_join_and_refuses_one_without_a_name(docker_host: str) -> None:
    scripts = "echo 'set minplayers 0' >new-world.serv"
    with game_server(docker_host, "freeciv", command=["--port", "5556"], ports=["5556/tcp"], setup=scripts) as ports:
        welcome = await answered(lambda: probes.freeciv_join("127.0.0.1", ports["5556/tcp"]))
        refusal = await probes.freeciv_join("127.0.0.1", ports["5556/tcp"], name="")

        assert (welcome.can_join, welcome.message) == (True, "probe Welcome")
        assert "+Freeciv-3.0-network" in welcome.capabilities.split()
        assert not refusal.can_join
        assert "name" in refusal.message.lower()


@pytest.mark.parametrize(
    "probe", [probes.openttd_info, probes.openttd_is_found, probes.teeworlds_info, probes.freeciv_join]
)
async def test_a_closed_port_is_a_failed_probe_that_names_the_address(probe: Callable[..., Awaitable[object]]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        with pytest.raises(probes.ProbeError, match=f"127.0.0.1:{port}"):
            await probe("127.0.0.1", port, timeout_s=0.3)


async def test_a_port_that_accepts_and_says_nothing_is_a_failed_probe() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(probes.ProbeError, match="timed out"):
        await probes.openttd_info("127.0.0.1", silent.getsockname()[1], timeout_s=0.2)


async def test_an_answer_in_another_protocol_is_a_failed_probe() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)

        async def answer_nonsense() -> None:
            loop = asyncio.get_running_loop()
            _, sender = await loop.sock_recvfrom(other, 2048)
            await loop.sock_sendto(other, b"HTTP/1.0 400 what?", sender)

        async with asyncio.TaskGroup() as group:
            group.create_task(answer_nonsense())
            with pytest.raises(probes.ProbeError, match="answered a search with 48 54 54 50"):
                await probes.openttd_is_found("127.0.0.1", other.getsockname()[1])
