"""Every body has an example that uses every key, and says the same after a round trip."""

import json
from pathlib import Path
from typing import Any

import pytest

from manman.messages import commands, external, health, logs, status
from manman.messages.body import Body
from manman.messages.codec import decode, encode

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES: dict[str, type[Body]] = {
    "start_session": commands.StartSession,
    "stop_session": commands.StopSession,
    "kill_session": commands.KillSession,
    "send_input": commands.SendInput,
    "reply": commands.Reply,
    "host_reported": status.HostReported,
    "session_reported": status.SessionReported,
    "heartbeat": health.Heartbeat,
    "log_line": logs.LogLine,
    "host_event": external.HostEvent,
    "deployment_event": external.DeploymentEvent,
    "session_event": external.SessionEvent,
}


def example(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_the_same_after_a_round_trip(name: str) -> None:
    body = decode(EXAMPLES[name], example(name))

    assert json.loads(encode(body)) == normal_times(json.loads(example(name)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_shows_every_key_of_its_body(name: str) -> None:
    assert missing_keys(decode(EXAMPLES[name], example(name)), json.loads(example(name))) == []


def test_every_body_has_an_example() -> None:
    shown: set[type[Body]] = set()
    for name, kind in EXAMPLES.items():
        collect(decode(kind, example(name)), shown)

    assert every_body(Body) - shown == set()


def test_every_example_is_read_by_a_test() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EXAMPLES)


def every_body(kind: type[Body]) -> set[type[Body]]:
    found = set(kind.__subclasses__())
    return {known for known in found.union(*map(every_body, found)) if known.__module__.startswith("manman.messages")}


def collect(value: object, shown: set[type[Body]]) -> None:
    if isinstance(value, list):
        for item in value:
            collect(item, shown)
    if isinstance(value, Body):
        shown.add(type(value))
        for field in value.__struct_fields__:
            collect(getattr(value, field), shown)


def missing_keys(value: object, shown: Any) -> list[str]:
    if isinstance(value, list):
        return [key for item, part in zip(value, shown, strict=True) for key in missing_keys(item, part)]
    if not isinstance(value, Body):
        return []
    missing = []
    for field in value.__struct_fields__:
        if field in shown:
            missing += missing_keys(getattr(value, field), shown[field])
        else:
            missing.append(f"{type(value).__name__}.{field}")
    return missing


def normal_times(value: Any) -> Any:
    """Write a time as we write it: microseconds or none."""
    if isinstance(value, dict):
        return {key: normal_times(item) for key, item in value.items()}
    return value.replace("05.25Z", "05.250000Z") if isinstance(value, str) else value
