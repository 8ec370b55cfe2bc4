"""Tells a Slack channel what happens on ManMan: a consumer of external events in one file, to copy and change.

    one event -> seen before? -> POST to the webhook, a few tries -> remember its id -> acknowledge
                                                  `-> cannot be told: into the dead-letter queue, and on to the next

It needs nothing of ManMan but the broker's address: `pip install aio-pika httpx2 prometheus-client`. Environment:

    RABBITMQ_URL          amqp://guest:guest@localhost:5672/
    EXTERNAL_EXCHANGE     external
    QUEUE_NAME            slack-notifier: one name for each program; what it cannot tell is in QUEUE_NAME-dlq
    EVENTS                manman.#: what to hear of, patterns of routing keys with commas
    SLACK_WEBHOOK_URL     where to POST {"text": …}; empty: events are printed only
    WEBHOOK_TRIES         4
    WEBHOOK_TIMEOUT_S     5: the longest that one try takes
    SEEN_DATABASE         :memory:; a file keeps the ids of told events over a restart
    METRICS_HOST          127.0.0.1
    METRICS_PORT          9108
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sqlite3
import sys
import time
from typing import TYPE_CHECKING, Any

import aio_pika
import httpx2
from prometheus_client import Counter, Gauge, Histogram, start_http_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

PREFETCH = 20
REMEMBERED_EVENTS = 100_000
LONGEST_QUEUE = 100_000
MOST_DEAD_LETTERS = 10_000
DELIVERY_LIMIT = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
SECOND_CHANCE = frozenset({408, 425, 429})
"""Refusals that may pass; others of the 4xx say that the URL or the message is wrong."""

EVENTS = Counter("subscriber_events_total", "Events taken from the queue.", ["event", "outcome"])
FAILURES = Counter("subscriber_webhook_failures_total", "Tries to tell the webhook that failed.")
SECONDS = Histogram("subscriber_webhook_seconds", "How long one try took.")
WORKS = Gauge("subscriber_webhook_works", "1 if the webhook took the last event that it was told.")
LAST = Gauge("subscriber_last_event_timestamp_seconds", "When the last event was settled, Unix time.")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that may differ between two installations."""

    rabbitmq_url: str = "amqp://guest:guest@localhost:5672/"
    external_exchange: str = "external"
    queue_name: str = "slack-notifier"
    events: str = "manman.#"
    slack_webhook_url: str = ""
    webhook_tries: int = 4
    webhook_timeout_s: float = 5.0
    seen_database: str = ":memory:"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9108


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read the settings; ValueError for a number that is none."""
    given = {
        field.name: type(field.default)(environment[field.name.upper()])
        for field in dataclasses.fields(Settings)
        if environment.get(field.name.upper())
    }
    return Settings(**given)


class Seen:
    """The ids of the last events that were told: one that comes again is not told again."""

    def __init__(self, path: str) -> None:
        """Keep them in this SQLite database."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY, event_id TEXT UNIQUE)")

    def __contains__(self, event_id: str) -> bool:
        """Tell whether the event was told."""
        return self._db.execute("SELECT 1 FROM seen WHERE event_id = ?", (event_id,)).fetchone() is not None

    def add(self, event_id: str) -> None:
        """Remember it, and forget the oldest of too many."""
        number = self._db.execute("INSERT OR IGNORE INTO seen (event_id) VALUES (?)", (event_id,)).lastrowid or 0
        self._db.execute("DELETE FROM seen WHERE number <= ?", (number - REMEMBERED_EVENTS,))


def text_of(event: str, body: Mapping[str, Any]) -> str | None:
    """Return the event in words; None for what a later version may add."""
    noun, _, happened = event.partition(".")
    if noun == "host":
        return f"host {body.get('server_id')} is {happened}"
    if noun == "deployment":
        return f"deployment {body.get('sgc_id')}: {body.get('reason', happened)}"
    if noun != "session":
        return None
    details = [f"{name} {body[name]}" for name in ("exit_code", "reason", "final_status") if name in body]
    return ", ".join([f"session {body.get('session_id')} is {happened}", *details])


class Webhook:
    """The place where events are told. After it failed, one try an event is enough until it works again."""

    def __init__(self, http: httpx2.AsyncClient, settings: Settings) -> None:
        """POST as the settings say."""
        self._http = http
        self._url = settings.slack_webhook_url
        self._tries = settings.webhook_tries
        self._timeout_s = settings.webhook_timeout_s
        self._works = True

    async def tell(self, text: str) -> bool:
        """Tell it within `tries` times the timeout and the pauses; return whether that was possible."""
        print(text, flush=True)
        if not self._url:
            return True
        told, again_s, pause_s = False, 0.0, FIRST_PAUSE_S
        for _ in range(self._tries if self._works else 1):
            await asyncio.sleep(again_s)
            told, asked_s, is_final = await self._try(text)
            if told or is_final:
                break
            again_s, pause_s = min(asked_s or pause_s, LONGEST_PAUSE_S), pause_s * 2
        self._works = told
        WORKS.set(told)
        return told

    async def _try(self, text: str) -> tuple[bool, float, bool]:
        """Return whether it was told, the pause that the other side asks for, and whether trying again is vain."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        try:
            with SECONDS.time():
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._http.post(self._url, json={"text": escaped})
        except (httpx2.HTTPError, TimeoutError) as error:
            FAILURES.inc()
            print(f"webhook not reached: {type(error).__name__}", file=sys.stderr, flush=True)
            return False, 0.0, False
        if answer.is_success:
            return True, 0.0, True
        FAILURES.inc()
        print(f"webhook answered {answer.status_code}", file=sys.stderr, flush=True)
        wait = answer.headers.get("retry-after", "")
        is_final = answer.status_code < 500 and answer.status_code not in SECOND_CHANCE  # noqa: PLR2004 - HTTP's own
        return False, float(wait) if wait.isdigit() else 0.0, is_final


async def outcome_of(message: AbstractIncomingMessage, event: str, seen: Seen, webhook: Webhook) -> str:
    """Act on one event; return what became of it. Only `repeated`, `ignored` and `told` are good."""
    try:
        body = json.loads(message.body)
        event_id = str(body.get("event_id") or message.message_id or "")
        text = text_of(event, body)
    except (ValueError, AttributeError, RecursionError) as error:
        print(f"unreadable event {message.routing_key}: {error}", file=sys.stderr, flush=True)
        return "unreadable"
    if text is None:
        return "ignored"
    if event_id and event_id in seen:
        return "repeated"
    if not await webhook.tell(text):
        return "not_told"
    if event_id:
        seen.add(event_id)
    return "told"


async def settle(message: AbstractIncomingMessage, seen: Seen, webhook: Webhook) -> None:
    """Act, then acknowledge; what cannot be told goes into the dead-letter queue and holds up nobody."""
    event = (message.routing_key or "").removeprefix("manman.")
    outcome = await outcome_of(message, event, seen, webhook)
    EVENTS.labels(event if outcome in ("told", "repeated") else "", outcome).inc()
    LAST.set(time.time())
    try:
        if outcome in ("unreadable", "not_told"):
            await message.reject(requeue=False)
        else:
            await message.ack()
    except (
        aio_pika.exceptions.AMQPError,
        aio_pika.exceptions.ChannelInvalidStateError,
    ) as error:  # the broker sends it again; its id is known by then
        print(f"not acknowledged: {error}", file=sys.stderr, flush=True)


async def declare(channel: aio_pika.abc.AbstractChannel, settings: Settings) -> AbstractQueue:
    """Declare the queue and its dead-letter queue, both durable and bounded, and bind what is to be heard."""
    dead = f"{settings.queue_name}-dlq"
    bounds = {"x-queue-type": "quorum", "x-overflow": "drop-head"}
    await channel.declare_queue(dead, durable=True, arguments={**bounds, "x-max-length": MOST_DEAD_LETTERS})
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-delivery-limit": DELIVERY_LIMIT}
    arguments = {**bounds, **letters, "x-max-length": LONGEST_QUEUE}
    queue = await channel.declare_queue(settings.queue_name, durable=True, arguments=arguments)
    exchange = await channel.declare_exchange(settings.external_exchange, aio_pika.ExchangeType.TOPIC, durable=True)
    for key in settings.events.split(","):
        await queue.bind(exchange, routing_key=key.strip())
    return queue


async def main(settings: Settings) -> None:
    """Tell events, one after the other, until SIGTERM or SIGINT; the one in hand is finished, the rest waits."""
    inbox: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()  # PREFETCH bounds it
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, lambda: (stopping.set(), inbox.put_nowait(None)))
    metrics, _ = start_http_server(settings.metrics_port, settings.metrics_host)
    seen = Seen(settings.seen_database)
    async with (
        httpx2.AsyncClient() as http,
        await aio_pika.connect_robust(settings.rabbitmq_url) as connection,
    ):
        webhook = Webhook(http, settings)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await declare(channel, settings)
        await queue.consume(inbox.put)
        print(f"listening on {queue.name}, metrics on port {metrics.server_port}", flush=True)
        while (message := await inbox.get()) is not None and not stopping.is_set():
            await settle(message, seen, webhook)
    metrics.shutdown()


if __name__ == "__main__":
    asyncio.run(main(settings_from(os.environ)))
