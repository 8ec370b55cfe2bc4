"""Who changed what: every call that may change something leaves one entry in a *journal*.

The entry is written before the servicer runs and gets its outcome afterwards, before the caller hears of it. So no
change can lack its entry: a journal that cannot be written refuses the call while nothing has happened yet, and when
the outcome cannot be written any more (or the process dies) the entry stays, without an outcome. Of a request only
whole numbers named `…_id` are kept, never a text: no secret can get in.

Calls of unknown callers are in the log of the service only, else anybody could fill the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from manman.errors import ManManError
from manman.rpc import access
from manman.rpc.errors import code_name, to_failure
from manman.v1.permissions_pb2 import ROLE_VIEWER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from google.protobuf.descriptor import MethodDescriptor

CHATTER = frozenset({"Heartbeat", "SendBatchedLogs"})
"""What hosts say all the time: it changes nothing that anybody decides."""

OUTCOME_TIMEOUT_S = 5.0

MAX_LISTED = 100
"""So many messages of a list are looked at for ids."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Entry:
    """A call as it begins: who, what, and the ids that it names."""

    subject: str
    role: str
    rpc: str
    ids: Mapping[str, str]
    request_id: str


class Journal(Protocol):
    """Where entries are kept."""

    async def begin(self, entry: Entry) -> int:
        """Store an entry for good and return its number; raises Unavailable."""

    async def end(self, number: int, code: str, ids: Mapping[str, str]) -> None:
        """Add how the call ended and every id known by now; raises Unavailable."""


@functools.cache
def is_recorded(method: MethodDescriptor) -> bool:
    """Tell whether calls of `method` may change something."""
    options: Any = method.GetOptions()  # the extension's own stubs do not say which messages it extends
    reads = options.Extensions[annotations_pb2.http].WhichOneof("pattern") == "get"
    return not reads and access.required_role(method) != ROLE_VIEWER and method.name not in CHATTER


def ids_of(message: object) -> dict[str, str]:
    """Return the ids in a message and in the messages that are its fields, by field name; those of a list as `1,2`."""
    if not isinstance(message, Message):
        return {}
    ids = _own_ids(message)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        ids = (_ids_of_list(value) if field.is_repeated else _own_ids(value)) | ids
    return ids


def _ids_of_list(messages: Iterable[Message]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for message in itertools.islice(messages, MAX_LISTED):
        for name, value in _own_ids(message).items():
            found.setdefault(name, {})[value] = None
    return {name: ",".join(values) for name, values in found.items()}


def _own_ids(message: Message) -> dict[str, str]:
    return {
        field.name: str(value)
        for field, value in message.ListFields()
        if field.name.endswith("_id") and field.type == FieldDescriptor.TYPE_INT64 and not field.is_repeated
    }


@contextlib.asynccontextmanager
async def recorded(
    journal: Journal, method: MethodDescriptor, caller: access.Caller, request: Message, request_id: str
) -> AsyncIterator[dict[str, str]]:
    """Record the call that the block makes. The block adds the ids it learns."""
    ids = ids_of(request)
    rpc = f"{method.containing_service.name}.{method.name}"
    entry = Entry(caller.subject, access.word_of(caller.role), rpc, dict(ids), request_id)
    number = await journal.begin(entry)
    code = "CANCELLED"
    try:
        yield ids
        code = "OK"
    except Exception as error:
        code = code_name(to_failure(error, request_id).status)
        raise
    finally:
        await _finish(journal, number, entry, code, ids)


async def _finish(journal: Journal, number: int, entry: Entry, code: str, ids: Mapping[str, str]) -> None:
    """Write the outcome. What was done is done: a failure is told to the log, not to the caller."""
    try:
        async with asyncio.timeout(OUTCOME_TIMEOUT_S):
            await journal.end(number, code, ids)
    except (ManManError, TimeoutError) as error:
        log.error(  # noqa: TRY400 - the trace of a lost connection tells nothing
            "audit_outcome_lost", entry_id=number, subject=entry.subject, code=code, ids=dict(ids), reason=str(error)
        )
