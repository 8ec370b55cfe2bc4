"""The log: structured events on stderr, one shape for our own and for third-party loggers.

Every line carries the service's name, a UTC time, and whatever ids were bound with `bind` (session_id, server_id,
request_id …) while the line was written.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.types import Processor

QUIET_LOGGERS = ("aiormq", "aio_pika", "pika", "urllib3", "botocore", "boto3", "docker", "grpc", "asyncio", "httpx")
"""Third-party loggers that only speak from warning upwards: below that they repeat what our own lines say."""

_NOTHING: Mapping[str, object] = {}
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=_NOTHING)
"""One variable for all ids: structlog's own has one for each id, which every call of the API would pay for."""

_RECONNECT_NOISE = (
    "No active transport",
    "ChannelInvalidStateError",
    "Unexpected connection close from remote",
    "Connection attempt to",
    "Socket closed",
)


def configure(level: str, format: str, service: str) -> None:  # noqa: A002 - the setting is called LOG_FORMAT
    """Set up logging for this process. `level` is a name such as "info"; `format` is "json" or "console"."""
    shared: list[Processor] = [
        _add_bound,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),  # a line that is not written costs next to nothing
        cache_logger_on_first_use=True,
    )
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if format == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _naming(service), *last],
        )
    )
    handler.addFilter(_without_reconnect_noise)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


class bind:  # noqa: N801 - used as a function is
    """Add `ids` to every line that this task (and tasks it starts) writes inside the block."""

    __slots__ = ("_ids", "_token")

    def __init__(self, **ids: object) -> None:
        """Take the ids."""
        self._ids = ids

    def __enter__(self) -> None:
        """Begin."""
        self._token = _bound.set({**_bound.get(), **self._ids})

    def __exit__(self, *_: object) -> None:
        """End."""
        _bound.reset(self._token)


def bound() -> Mapping[str, object]:
    """Return what is added to every line written here."""
    return _bound.get()


def _add_bound(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    return {**_bound.get(), **event}


def _naming(service: str) -> Processor:
    def add_service(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"] = service
        return event

    return add_service


def _without_reconnect_noise(record: logging.LogRecord) -> bool:
    """Drop the tracebacks that the AMQP client writes on every reconnect: our own line says it once."""
    if not record.name.startswith(("aiormq", "aio_pika", "asyncio")):
        return True
    text = record.getMessage() + (str(record.exc_info[1]) if record.exc_info else "")
    return not any(noise in text for noise in _RECONNECT_NOISE)
