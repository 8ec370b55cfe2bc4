"""A *connection* to the broker that is kept: it is retried for ever, and everything on top asks it for a channel.

Nothing is restored behind anybody's back. When the connection is lost its channels are dead, and whoever had one
(publisher, consumer, reader) opens another and declares again what it needs. That makes a first start, a broker
restart and a deleted queue one and the same case.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from typing import TYPE_CHECKING

import aio_pika
import structlog
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from yarl import URL

from manman.background import running
from manman.bus.lane import Lane, open_lane
from manman.errors import Conflict, ManManError, NotFound, Unavailable
from manman.messages import routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from manman.health import Component
    from manman.settings import BusSettings

CONNECT_TIMEOUT_S = 10.0
OPERATION_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
TRANSIENT_NOT_FOUND = ("home node", "down or inaccessible", "stopped by supervisor", "no process")
"""What a 404 says about a queue that exists but whose node is still starting."""
UNFINISHED = "does not have a replica"
"""What a 406 says about a stream that is being made or deleted at this moment."""

log = structlog.get_logger(__name__)


class Backoff:
    """Pauses that double from `first_s` to `longest_s`, give or take a quarter, so that replicas spread."""

    def __init__(self, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    async def pause(self) -> None:
        """Sleep for the next pause."""
        await asyncio.sleep(self._next_s * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, guards nothing
        self._next_s = min(self._next_s * 2, self._longest_s)

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._next_s = self._first_s


@contextlib.contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Turn what the AMQP client raises into the error family. `doing` completes "the broker … while …".

    404 becomes NotFound, 406 becomes Conflict, everything else Unavailable. A pending call whose connection dies is
    cancelled by the client although nobody cancelled the task: that is Unavailable as well. The other way round the
    client may answer a cancellation with an error of its own; who was cancelled within the block stays cancelled.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task is not None else 0
    try:
        with _family(doing):
            yield
    except (asyncio.CancelledError, ManManError) as error:
        if task is not None and task.cancelling() > cancelled_before:
            raise asyncio.CancelledError from error
        if isinstance(error, ManManError):
            raise
        raise Unavailable(f"the broker went away while {doing}") from None


@contextlib.contextmanager
def _family(doing: str) -> Iterator[None]:
    try:
        yield
    except ChannelNotFoundEntity as error:
        if any(words in str(error) for words in TRANSIENT_NOT_FOUND):
            raise Unavailable(f"the broker is still starting while {doing}: {error}") from error
        raise NotFound("queue or exchange", f"({doing}): {error}") from error
    except ChannelPreconditionFailed as error:
        if UNFINISHED in str(error):
            raise Unavailable(
                f"the broker is not done with what it makes or deletes, while {doing}: {error}"
            ) from error
        raise Conflict(
            f"the broker refused {doing}: {error}; it exists with other arguments, remove it first"
        ) from error
    except TimeoutError as error:
        raise Unavailable(f"the broker did not answer in time while {doing}") from error
    except (AMQPError, OSError, RuntimeError) as error:
        raise Unavailable(f"the broker failed while {doing}: {error or type(error).__name__}") from error


class Connection:
    """One AMQP connection under a name, kept up by `run`. Make it with `connect`."""

    def __init__(
        self, settings: BusSettings, name: str, component: Component | None, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        self.name = name
        self.exchanges = (routing.EXCHANGE, settings.external_exchange)
        self._settings = settings
        self._url = URL(settings.rabbitmq_url.get_secret_value())
        self._component = component
        self._longest_pause_s = longest_pause_s
        self._raw: AbstractConnection | None = None
        self._up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the connection stands, as far as we know."""
        return self._up.is_set()

    async def wait_up(self, timeout_s: float | None = None) -> None:
        """Wait until the connection stands. Unavailable after `timeout_s`; None waits for ever."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise Unavailable("the broker cannot be reached") from None

    @contextlib.asynccontextmanager
    async def channel(self, *, prefetch: int = 0, confirms: bool = False) -> AsyncIterator[AbstractChannel]:
        """Open a channel for the block. `confirms` turns publisher confirms on, and returned messages then raise."""
        channel = await self.open_channel(prefetch=prefetch, confirms=confirms)
        try:
            yield channel
        finally:
            await close_quietly(channel)

    async def open_channel(self, *, prefetch: int = 0, confirms: bool = False) -> AbstractChannel:
        """Open a channel that the caller closes with `close_quietly`. Unavailable while the broker is away."""
        if self._raw is None:
            raise Unavailable("the broker cannot be reached")
        with broker_errors("opening a channel"):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                channel = self._raw.channel(publisher_confirms=confirms, on_return_raises=confirms)
                await channel.initialize()
                if prefetch:
                    await channel.set_qos(prefetch_count=prefetch)
        return channel

    async def open_lane(self) -> Lane:
        """Open a lane beside this connection; the caller closes it. Unavailable while the broker is away."""
        if self._raw is None:
            raise Unavailable("the broker cannot be reached")
        with broker_errors("opening a lane"):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await open_lane(
                    self._url, self.name, heartbeat_s=self._settings.rabbitmq_heartbeat_seconds, tls=self._tls()
                )

    async def run(self) -> None:
        """Connect, stay connected, connect again; for ever."""
        backoff = Backoff(longest_s=self._longest_pause_s)
        while True:
            lost = asyncio.Event()
            try:
                raw = await self._connect(lost)
            except ManManError as error:
                self._down(str(error))
                await backoff.pause()
                continue
            backoff.reset()
            self._raw = raw
            self._up.set()
            if self._component is not None:
                self._component.up()
            try:
                await lost.wait()
            finally:
                self._raw = None
                self._up.clear()
                await close_quietly(raw)
            self._down("the connection was lost")

    async def _connect(self, lost: asyncio.Event) -> AbstractConnection:
        raw = aio_pika.Connection(
            self._url.update_query(heartbeat=str(self._settings.rabbitmq_heartbeat_seconds)),
            ssl_context=self._tls(),
            client_properties={"connection_name": self.name},
        )
        raw.close_callbacks.add(lambda *_: lost.set())
        try:
            with broker_errors("connecting"):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await raw.connect()
                    channel = await raw.channel()
                    await declare_exchanges(channel, self.exchanges)
                    await channel.close()
        except BaseException:
            await close_quietly(raw)
            raise
        return raw

    def _tls(self) -> ssl.SSLContext | None:
        return tls_context(self._settings) if self._url.scheme == "amqps" else None

    def _down(self, reason: str) -> None:
        if self._component is not None:
            self._component.down(reason)
        else:
            log.warning("broker_away", connection=self.name, reason=reason)


@contextlib.asynccontextmanager
async def connect(
    settings: BusSettings,
    name: str,
    *,
    component: Component | None = None,
    wait: bool = True,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> AsyncIterator[Connection]:
    """Keep a connection for the block; `name` shows in the broker's management page.

    With `wait` the block begins when the broker was reached for the first time, however long that takes; without it
    begins at once, for a service that is of some use without a broker. `component` (of `manman.health`) is told
    about every change. `longest_pause_s` is how long it takes at most to find out that a broker is back.
    """
    connection = Connection(settings, name, component, longest_pause_s)
    async with running(connection.run(), f"bus-connection-{name}"):
        if wait:
            await connection.wait_up()
        yield connection


async def declare_exchanges(channel: AbstractChannel, names: tuple[str, ...]) -> None:
    """Declare the durable topic exchanges; doing it again changes nothing."""
    for name in names:
        await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)


async def close_quietly(part: AbstractChannel | AbstractConnection) -> None:
    """Close a channel or connection that may be dead already, or never opened; a frozen broker delays it briefly.

    Who is cancelled meanwhile is so afterwards: a client whose close is broken off asks for it a second time, and a
    broker that is asked twice to close a channel closes the whole connection.
    """
    closing = asyncio.ensure_future(_close(part))  # noqa: TID251 - it ends soon, and is waited for here
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        raise


async def _close(part: AbstractChannel | AbstractConnection) -> None:
    with contextlib.suppress(ManManError), broker_errors("closing"):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await part.close()
    if isinstance(part, aio_pika.abc.AbstractConnection) and not part.is_closed:
        # Its transport is gone by now, so this asks nobody. One that stays half closed starts to close itself when it
        # is collected, on whatever thread that happens.
        await part.close()


class _NamedContext(ssl.SSLContext):
    """Expects another name in the certificate than the one dialled."""

    server_name = ""

    def wrap_bio(  # type: ignore[override] # narrower than the stubs: only what asyncio passes
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the standard library's signature
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.server_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def tls_context(settings: BusSettings) -> ssl.SSLContext:
    """Return the TLS rules for `amqps`: the system's or the given authorities, unless verification is off."""
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = settings.rabbitmq_tls_server_name
    if settings.rabbitmq_ca_cert_path:
        context.load_verify_locations(cafile=settings.rabbitmq_ca_cert_path)
    else:
        context.load_default_certs()
    if not settings.rabbitmq_ssl_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
