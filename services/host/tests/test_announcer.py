"""What a host has to say about its sessions waits until somebody takes it."""

from uuid import uuid4

from prometheus_client import REGISTRY
from pydantic import SecretStr

from manman.background import running
from manman.bus import topology
from manman.bus.connection import connect
from manman.bus.publisher import Publisher
from manman.messages import routing
from manman.messages.codec import decode
from manman.messages.status import SessionReported
from manman.settings import BusSettings
from manman_devstack.eventually import eventually
from manman_devstack.onlooker import Onlooker
from manman_host.announcer import Announcer
from manman_host.identity import Identity


def attempts() -> float:
    name, labels = "manman_messages_published_total", {"exchange": routing.EXCHANGE}
    return sum(REGISTRY.get_sample_value(name, labels | {"outcome": end}) or 0 for end in ("confirmed", "unroutable"))


async def test_reports_wait_for_a_queue_that_is_not_there_and_then_come_in_order(amqp_url: str) -> None:
    settings, onlooker = BusSettings(rabbitmq_url=SecretStr(amqp_url)), Onlooker(amqp_url)
    async with connect(settings, "host") as connection, Publisher(connection) as publisher:
        announcer = Announcer(publisher, Identity(1, "host", "", uuid4()))
        for status in ("starting", "running"):
            announcer.session(SessionReported(session_id=7, status=status))
        before = attempts()
        async with running(announcer.run(), "announcer"):
            await eventually(lambda: attempts() > before)
            await topology.declare_queue(connection, topology.Queue(name="reports", keys=("status.session.#",)))
            await eventually(lambda: announcer.known_status(7) == "running")
    seen = await onlooker.take_all("reports")
    assert [decode(SessionReported, one.body).status for one in seen] == ["starting", "running"]
