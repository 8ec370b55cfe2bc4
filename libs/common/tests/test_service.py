import signal
import subprocess
import sys

import pytest

HEAD = """
import asyncio, contextlib, sys
from manman import logs, service
logs.configure("info", "json", "probe")

@contextlib.asynccontextmanager
async def part(name):
    try:
        yield
    finally:
        await asyncio.sleep(0)
        print("closed", name, flush=True)
"""

LONG_RUNNING = (
    HEAD
    + """
async def main():
    async with part("database"), part("broker"):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(600))
            print("running", flush=True)

service.run(main())
"""
)

HANGING = (
    HEAD
    + """
async def main():
    try:
        print("running", flush=True)
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(600)

service.run(main(), shutdown_timeout_s=0.2)
"""
)

FAILING = (
    HEAD
    + """
async def main():
    async with part("database"):
        raise RuntimeError("no such table")

service.run(main())
"""
)


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_what_was_opened_in_reverse_order_and_the_exit_code_is_zero(number: signal.Signals) -> None:
    process = start(LONG_RUNNING)
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert out.splitlines() == ["closed broker", "closed database"]
    assert process.returncode == 0, err


def test_leaving_that_hangs_is_ended_at_the_limit_and_the_log_names_the_task() -> None:
    process = start(HANGING)
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "shutdown_took_too_long" in err
    assert "_supervise" in err


def test_an_unexpected_error_is_logged_with_its_traceback_and_the_exit_code_is_one() -> None:
    process = start(FAILING)
    out, err = process.communicate(timeout=20)
    assert out.splitlines() == ["closed database"]
    assert "RuntimeError: no such table" in err
    assert process.returncode == 1


def test_what_is_there_when_a_process_settles_is_not_collected_over_and_over() -> None:
    script = "import gc; from manman import service; service.settle(); print(gc.get_freeze_count(), gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    frozen, collects = done.stdout.split()
    assert int(frozen) > 10_000
    assert collects == "True"
