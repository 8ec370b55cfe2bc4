"""The engine's statistics, as engines on both versions of control groups write them."""

from typing import Any

import pytest

from manman_host.container_usage import Usage, read_usage


def stats(memory: dict[str, int], **more: Any) -> dict[str, Any]:
    return {
        "read": "2026-05-01T12:00:00.123456789Z",
        "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
        "memory_stats": {"usage": 1000, "limit": 4000, "stats": memory},
        **more,
    }


@pytest.mark.parametrize("name", ["total_inactive_file", "inactive_file"])
def test_the_cache_that_nobody_needs_does_not_count_as_memory_by_either_of_its_names(name: str) -> None:
    both = {"total_inactive_file": 300, "inactive_file": 1} if name == "total_inactive_file" else {name: 300}
    usage = read_usage(stats(both))
    assert usage is not None
    assert (usage.cpu_s, usage.memory_bytes, usage.memory_limit_bytes) == (1.5, 700, 4000)


def test_networks_and_disks_are_added_up_whatever_the_engine_calls_reading() -> None:
    usage = read_usage(
        stats(
            {},
            networks={"eth0": {"rx_bytes": 1, "tx_bytes": 10}, "eth1": {"rx_bytes": 2, "tx_bytes": 20}},
            blkio_stats={
                "io_service_bytes_recursive": [
                    {"op": "Read", "value": 5},
                    {"op": "read", "value": 6},
                    {"op": "write", "value": 7},
                    {"op": "Total", "value": 100},
                ]
            },
        )
    )
    assert usage is not None
    assert (usage.received_bytes, usage.sent_bytes, usage.read_bytes, usage.written_bytes) == (3, 30, 11, 7)


def test_what_an_engine_does_not_count_is_unknown_and_not_nothing() -> None:
    counted = {"read": "2026-05-01T12:00:00Z", "blkio_stats": {"io_service_bytes_recursive": None}, "memory_stats": {}}
    assert read_usage(counted) == Usage(None, None, None, None, None, None, None)


def test_a_container_that_does_not_run_uses_nothing_that_could_be_told() -> None:
    assert read_usage(stats({}, read="0001-01-01T00:00:00Z")) is None
    assert read_usage({}) is None
