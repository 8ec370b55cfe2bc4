"""Processes by their id and start time: nothing else is ever ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from manman_devstack import daemons
from manman_devstack.daemons import Daemon, NotReadyError
from manman_devstack.home import Home, free_port, is_free

_SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_it_writes_its_pid_and_removes_it_when_it_ends(home: Home) -> None:
    sleeper = Daemon("sleeper", home, _SLEEP)
    sleeper.start()
    assert (home.pids / "sleeper.pid").read_text() == f"{sleeper.pid}\n"
    sleeper.stop()
    assert sleeper.pid is None
    assert not (home.pids / "sleeper.pid").exists()


def test_starting_twice_starts_one(home: Home) -> None:
    sleeper = Daemon("sleeper", home, _SLEEP)
    sleeper.start()
    pid = sleeper.pid
    sleeper.start()
    assert sleeper.pid == pid
    sleeper.kill()


def test_a_process_that_only_got_the_same_number_is_left_alone(home: Home) -> None:
    home.write_note("stranger.process", {"pid": os.getpid(), "started_at": 1.0})
    assert daemons.running_pid(home, "stranger") is None
    daemons.end_process(home, "stranger", signal.SIGKILL, 1.0)


def test_one_that_ignores_the_polite_signal_is_ended_by_force(home: Home) -> None:
    ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn = ignores + "print('ready', flush=True); time.sleep(600)"
    daemon = Daemon("stubborn", home, [sys.executable, "-c", stubborn])
    daemon.start()
    daemon.wait_ready(lambda: "ready" in daemon.last_lines(), 10.0)
    daemon.stop(timeout_s=0.2)
    assert daemon.pid is None


def test_a_frozen_one_stands_still_at_once_with_all_its_threads(home: Home) -> None:
    spin = "import threading; [threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start() for _ in range(8)]"
    busy = Daemon("busy", home, [sys.executable, "-c", spin])
    busy.start()
    busy.freeze()
    worked_s = sum(psutil.Process(busy.pid).cpu_times()[:2])
    time.sleep(0.1)
    assert sum(psutil.Process(busy.pid).cpu_times()[:2]) == worked_s
    busy.thaw()
    busy.kill()


def test_one_that_ends_while_starting_is_reported_with_its_last_words(home: Home) -> None:
    daemon = Daemon("short", home, [sys.executable, "-c", "print('no such file')"])
    daemon.start()
    with pytest.raises(NotReadyError, match="no such file"):
        daemon.wait_ready(lambda: False, 10.0)


def test_a_port_keeps_its_number_until_it_is_forgotten(home: Home) -> None:
    port = home.port("rest")
    assert home.port("rest") == port
    assert is_free(port)
    assert home.port("grpc", preferred=port) == port


def test_two_processes_are_never_given_the_same_port() -> None:
    script = "from manman_devstack import home; home._PORTS = range(31_000, 31_008); print(home.free_port()); input()"
    with contextlib.ExitStack() as stack:
        given = []
        for _ in range(6):
            process = subprocess.Popen(
                [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.communicate, "\n")
            assert process.stdout is not None
            given.append(int(process.stdout.readline()))
        assert len(set(given)) == len(given)


def test_free_ports_are_none_that_the_kernel_gives_to_clients() -> None:
    assert free_port() < 32_768


def test_a_folder_for_sockets_is_short_however_deep_the_home(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("deep" * 12) / ("deeper" * 8))
    folder = deep.short_folder("host")
    assert len(str(folder)) <= 57
    assert folder.is_dir()
    assert deep.short_folder("host") == folder
    folder.rmdir()
