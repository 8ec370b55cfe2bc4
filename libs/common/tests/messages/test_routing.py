"""Names on the broker are facts that other implementations know too."""

from uuid import UUID

import pytest

from manman.messages import routing


def test_keys_are_spelled_as_agreed() -> None:
    assert routing.command_keys(7) == (
        "command.host.7.session.start",
        "command.host.7.session.stop",
        "command.host.7.session.kill",
        "command.host.7.session.send_input",
    )
    assert routing.status_host(7) == "status.host.7"
    assert routing.status_session(812) == "status.session.812"
    assert routing.health_host(7) == "health.host.7"
    assert routing.logs_session(812) == "logs.session.812"
    assert routing.external_host("stale") == "manman.host.stale"
    assert routing.external_deployment("crash_loop") == "manman.deployment.crash_loop"
    assert routing.external_session("crashed") == "manman.session.crashed"


def test_queues_are_named_as_agreed() -> None:
    assert routing.host_commands_queue(7) == "host-7-commands"
    assert routing.dead_letter_queue("processor-events") == "processor-events-dlq"
    assert routing.log_stream(812) == "logs.session.812"
    assert routing.reply_queue(UUID(int=1)) == "api-replies-00000000-0000-0000-0000-000000000001"


def test_the_command_queue_carries_the_two_dead_letter_arguments_only() -> None:
    assert routing.dead_letter_arguments("host-7-commands") == {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "host-7-commands-dlq",
    }


@pytest.mark.parametrize(
    ("pattern", "key", "covered"),
    [
        ("status.host.#", "status.host.7", True),
        ("status.host.#", "status.host", True),
        ("status.host.#", "status.host.7.x", True),
        ("status.host.#", "status.hosts.7", False),
        ("health.#", "health.host.7", True),
        ("*.host.7", "status.host.7", True),
        ("*", "a.b", False),
        ("#.b", "a.a.b", True),
        ("a.#.b", "a.b", True),
        ("a.*.b", "a.b", False),
        ("#", "", True),
        ("#.#.b", "b", True),
        ("a.#.#", "a", True),
        (".".join("#" * 120), "a.b.c.d.e.f.g.h", True),
        (".".join("#" * 120) + ".x", "a.b.c.d.e.f.g.h", False),
    ],
)
def test_a_pattern_covers_what_a_topic_exchange_would_route(pattern: str, key: str, *, covered: bool) -> None:
    assert routing.matches(pattern, key) is covered
