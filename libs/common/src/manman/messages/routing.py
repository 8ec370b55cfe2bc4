"""Every name on the broker: exchanges, routing keys, queues and their arguments.

Readers route on the pattern of a key and trust the ids in the body. This module only spells names; declaring and
binding happen in `manman.bus.topology`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

Arguments: TypeAlias = dict[str, str | int]

EXCHANGE = "manman"
"""The internal topic exchange: commands down, reports and log lines up."""

EXTERNAL_EXCHANGE = "external"
"""Default name of the topic exchange for subscribers; a setting may change it."""

DEFAULT_EXCHANGE = ""
"""The broker's own exchange, which routes by queue name: replies and dead letters."""

PROCESSOR_EVENTS = "processor-events"
PROCESSOR_EVENT_KEYS = ("status.host.#", "status.session.#", "health.#")

MAX_PARTITIONS = 16
"""Into so many queues the reports can be divided."""

HOST_HEADER = "x-manman-host"
"""The header by which reports are divided: the id of the host, so that everything a host says stays in one queue."""

COMMAND_NAMES = ("session.start", "session.stop", "session.kill", "session.send_input")
"""The commands a host consumes, as the tail of their keys."""


COMMAND_START_PATTERN = "command.host.*.session.start"
"""The keys of all start commands."""


def command_start(server_id: int) -> str:
    """Return the key of a start command."""
    return _command(server_id, "session.start")


def command_stop(server_id: int) -> str:
    """Return the key of a stop command."""
    return _command(server_id, "session.stop")


def command_kill(server_id: int) -> str:
    """Return the key of a kill command."""
    return _command(server_id, "session.kill")


def command_send_input(server_id: int) -> str:
    """Return the key of an input command."""
    return _command(server_id, "session.send_input")


def command_keys(server_id: int) -> tuple[str, ...]:
    """Return every key that the command queue of this host is bound with."""
    return tuple(_command(server_id, name) for name in COMMAND_NAMES)


def _command(server_id: int, name: str) -> str:
    return f"command.host.{server_id}.{name}"


def status_host(server_id: int) -> str:
    """Return the key of a host's report about itself."""
    return f"status.host.{server_id}"


def status_session(session_id: int) -> str:
    """Return the key of a host's report about a session."""
    return f"status.session.{session_id}"


def health_host(server_id: int) -> str:
    """Return the key of a heartbeat."""
    return f"health.host.{server_id}"


def logs_session(session_id: int) -> str:
    """Return the key of a session's log lines."""
    return f"logs.session.{session_id}"


def said_by(server_id: int) -> dict[str, str | int]:
    """Return the headers of what a host reports."""
    return {HOST_HEADER: str(server_id)}


def external_host(event: str) -> str:
    """Return the key of a host event: online, offline or stale."""
    return f"manman.host.{event}"


def external_deployment(event: str) -> str:
    """Return the key of a deployment event: crash_loop."""
    return f"manman.deployment.{event}"


def external_session(event: str) -> str:
    """Return the key of a session event: running, stopped, crashed or lost."""
    return f"manman.session.{event}"


def host_commands_queue(server_id: int) -> str:
    """Return the name of the queue from which a host takes its commands."""
    return f"host-{server_id}-commands"


def log_stream(session_id: int) -> str:
    """Return the name of the stream that keeps a session's log lines."""
    return f"logs.session.{session_id}"


def divider(queue: str, count: int) -> str:
    """Return the name of the exchange that divides what would be in `queue` into so many partitions."""
    return f"{queue}-by-{count}"


def partition(queue: str, count: int, number: int) -> str:
    """Return the name of the queue of one partition; `number` counts from 0."""
    return f"{divider(queue, count)}.{number:02}"


def reply_queue(owner: UUID) -> str:
    """Return the name of the queue on which one api process takes replies."""
    return f"api-replies-{owner}"


def dead_letter_queue(queue: str) -> str:
    """Return the name of the queue that keeps what `queue` could not digest."""
    return f"{queue}-dlq"


def dead_letter_arguments(queue: str) -> Arguments:
    """Return the arguments that send rejected messages of `queue` to its dead-letter queue, and nothing else.

    The host's command queue is declared with exactly these, by whoever comes first.
    """
    return {"x-dead-letter-exchange": DEFAULT_EXCHANGE, "x-dead-letter-routing-key": dead_letter_queue(queue)}


def event_queue_arguments(queue: str, *, delivery_limit: int) -> Arguments:
    """Return the arguments of a quorum queue that only we declare, or of its partitions; the limit is on redeliveries.

    One consumer at a time gets its messages, so that several processes keep their order; the others stand by.
    """
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": delivery_limit,
        **dead_letter_arguments(queue),
    }


def dead_letter_queue_arguments(*, max_length: int) -> Arguments:
    """Return the arguments of a dead-letter queue of ours: quorum, oldest dropped beyond `max_length`."""
    return {"x-queue-type": "quorum", "x-max-length": max_length, "x-overflow": "drop-head"}


def log_stream_arguments(*, max_bytes: int, max_age_s: int, segment_bytes: int) -> Arguments:
    """Return the arguments of a log stream. The broker drops whole segments, so keep these well below `max_bytes`."""
    return {
        "x-queue-type": "stream",
        "x-max-length-bytes": max_bytes,
        "x-max-age": f"{max_age_s}s",
        "x-stream-max-segment-size-bytes": segment_bytes,
    }


def matches(pattern: str, key: str) -> bool:
    """Tell whether a topic `pattern` covers `key`: `*` is one word, `#` is any number of words, also none."""
    parts = pattern.split(".")
    reached = set(_without_a_word(parts, 0))
    for word in key.split("."):
        after = (
            at if parts[at] == "#" else at + 1 for at in reached if at < len(parts) and parts[at] in ("#", "*", word)
        )
        reached = {beyond for at in after for beyond in _without_a_word(parts, at)}
    return len(parts) in reached


def _without_a_word(parts: list[str], at: int) -> Iterator[int]:
    """Return how far a pattern can be followed from `at` without a word: a `#` needs none."""
    yield at
    while at < len(parts) and parts[at] == "#":
        at += 1
        yield at
