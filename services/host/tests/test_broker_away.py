"""A broker that is killed under a running session: nothing is lost, everything is told afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manman_devstack.eventually import eventually

if TYPE_CHECKING:
    from conftest import World

    from manman_devstack.rabbitmq import PrivateRabbitmq

COUNT = "i=0; while read go; do for n in $(seq 1 $go); do i=$((i+1)); echo line $i; done; [ $go = 7 ] && exit 7; done"


@pytest.mark.usefixtures("fragile_host")
async def test_lines_and_the_end_that_come_while_the_broker_is_dead_are_told_when_it_is_back(
    fragile_world: World, private_rabbitmq: PrivateRabbitmq
) -> None:
    world = fragile_world
    await world.start(script=COUNT)
    await world.reported("running")
    await world.type("20\n")
    await world.lines_until("line 20")
    private_rabbitmq.kill()
    stdin = world.game().attach_socket(params={"stdin": 1, "stream": 1})
    stdin._sock.sendall(b"3000\n7\n")
    await eventually(lambda: world.game().status == "exited")
    stdin._sock.close()
    stdin.close()
    private_rabbitmq.start()
    crashed = await world.reported("crashed", timeout_s=60)
    assert (crashed.exit_code, crashed.reason) == (7, "exited")
    lines = [line for line in await world.lines_until("line 3027") if line.source == "stdout"]
    assert [line.seq for line in lines] == list(range(1, 3028))
    await world.clean()


@pytest.mark.usefixtures("fragile_host")
async def test_what_a_long_absence_of_the_broker_costs_in_lines_is_one_line_that_counts_them(
    fragile_world: World, private_rabbitmq: PrivateRabbitmq
) -> None:
    world = fragile_world
    flood = "for s in $(seq 8); do seq -f %0800g 4000; sleep 1; done"
    await world.start(script=f"echo up; read go; echo begun; sleep 1; {flood}; echo done; sleep 600")
    await world.reported("running")
    await world.lines_until("up")
    await world.type("go\n")
    await world.lines_until("begun")
    private_rabbitmq.kill()
    await eventually(lambda: world.game().logs(tail=1) == b"done\n", timeout_s=40)
    private_rabbitmq.start()
    lines = await world.lines_until("done", timeout_s=60)
    shipped = [line for line in lines if line.source == "stdout"]
    seqs = [line.seq for line in shipped]
    assert seqs == sorted(set(seqs))
    missing = [line for line in lines if "lines are missing here" in line.message]
    assert len(missing) == 1
    assert int(missing[0].message.split()[1]) + len(shipped) == seqs[-1] == 32_003
    assert len(shipped) > 8_000_000 / 801  # what the wrapper keeps is not lost
    assert world.game().status == "running"
    await world.stop(force=True)
    await world.reported("stopped")
