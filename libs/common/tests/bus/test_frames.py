import uuid

import pytest
from pamqp import commands, header
from pamqp import frame as codec

from manman.bus import frames
from manman.bus.publisher import Outgoing


def outgoing(body: bytes = b"{}", **more: object) -> Outgoing:
    fields: dict[str, object] = {"exchange": "manman", "routing_key": "thing.x", "message_id": "m-1"} | more
    return Outgoing(body=body, **fields)  # type: ignore[arg-type] # as given by the test


def decoded(raw: bytes) -> list[object]:
    found = []
    while raw:
        used, channel, frame = codec.unmarshal(raw)
        assert channel == frames.CHANNEL
        found.append(frame)
        raw = raw[used:]
    return found


def content_header(**properties: object) -> bytes:
    value = header.ContentHeader(body_size=7, properties=commands.Basic.Properties(**properties))  # type: ignore[arg-type] # the same
    return codec.marshal(value, frames.CHANNEL)[frames.HEAD.size : -1]


def test_another_implementation_reads_what_we_publish() -> None:
    message = outgoing(
        b'{"a":1}', mandatory=True, headers={"h": "v"}, correlation_id="c", reply_to="r", expiration_ms=1500
    )
    method, head, body = decoded(frames.publish(message, "app", 1_780_000_000, 4096))
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("manman", "thing.x", True)
    assert isinstance(head, header.ContentHeader)
    said = head.properties
    assert (said.content_type, said.delivery_mode) == ("application/json", 2)
    assert (said.message_id, said.app_id) == ("m-1", "app")
    assert (said.headers, said.correlation_id, said.reply_to, said.expiration) == ({"h": "v"}, "c", "r", "1500")
    assert said.timestamp is not None
    assert said.timestamp.timestamp() == 1_780_000_000
    assert (head.body_size, body.value) == (7, b'{"a":1}')  # type: ignore[attr-defined] # a body frame


@pytest.mark.parametrize(("size", "pieces"), [(0, 0), (1, 1), (4088, 1), (4089, 2), (10_000, 3)])
def test_a_body_is_cut_into_frames_of_the_agreed_size(size: int, pieces: int) -> None:
    raw = frames.publish(outgoing(b"x" * size), "app", 0, 4096)
    _, _, *bodies = decoded(raw)
    assert len(bodies) == pieces
    assert b"".join(body.value for body in bodies) == b"x" * size  # type: ignore[attr-defined] # body frames


def test_we_read_what_another_implementation_delivers() -> None:
    method = commands.Basic.Deliver("tag", 7, redelivered=True, exchange="manman", routing_key="status.session.5")
    payload = codec.marshal(method, frames.CHANNEL)[frames.HEAD.size : -1]
    assert payload.startswith(frames.DELIVER)
    assert frames.read_deliver(payload) == (7, True, "status.session.5")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, (None, {}, None, None)),
        ({"message_id": "m"}, ("m", {}, None, None)),
        ({"content_type": "a", "content_encoding": "b", "priority": 3, "message_id": "m"}, ("m", {}, None, None)),
        (
            {
                "headers": {"x-delivery-count": 2, "who": "me"},
                "delivery_mode": 2,
                "correlation_id": "c",
                "reply_to": "r",
                "expiration": "10",
                "message_id": "m",
                "app_id": "later",
            },
            ("m", {"x-delivery-count": 2, "who": "me"}, "c", "r"),
        ),
    ],
)
def test_whichever_properties_a_message_has_those_we_use_are_found(
    properties: dict[str, object], expected: tuple[object, ...]
) -> None:
    said = frames.read_header(content_header(**properties))
    assert (said.message_id, said.headers, said.correlation_id, said.reply_to) == expected
    assert said.body_size == 7


@pytest.mark.parametrize("multiple", [True, False])
def test_confirms_are_read(multiple: bool) -> None:  # noqa: FBT001 - a parameter of the test
    for kind, name in ((commands.Basic.Ack, frames.ACK), (commands.Basic.Nack, frames.NACK)):
        payload = codec.marshal(kind(9, multiple), frames.CHANNEL)[frames.HEAD.size : -1]
        assert payload.startswith(name)
        assert frames.read_confirm(payload) == (9, multiple)


def test_an_acknowledgement_covers_everything_before() -> None:
    (method,) = decoded(frames.acknowledge(12))
    assert isinstance(method, commands.Basic.Ack)
    assert (method.delivery_tag, method.multiple) == (12, True)


def test_a_heartbeat_is_one() -> None:
    assert type(codec.unmarshal(frames.KEEP_ALIVE)[2]).__name__ == "Heartbeat"


def test_ids_of_any_text_survive() -> None:
    identity = f"ü-{uuid.uuid4()}"
    _, head, _ = decoded(frames.publish(outgoing(message_id=identity), "app", 0, 4096))
    assert head.properties.message_id == identity  # type: ignore[attr-defined] # a content header
