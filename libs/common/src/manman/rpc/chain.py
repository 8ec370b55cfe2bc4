"""What happens around every call, whether it came by gRPC or REST: one chain, so that both are the same API.

    request id -> log context -> who calls -> audit -> may they -> is the request right -> which attempt is it
        -> deadline -> servicer

The chain raises nothing but `CallFailed`, which carries the finished status, and CancelledError when the caller went
away. It knows no transport: the gRPC server and the REST gateway hand it a method, a request and the metadata.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog

from manman import logs, tracing
from manman.errors import Invalid, ManManError, TimedOut, Unavailable
from manman.rpc import access, audit, idempotency
from manman.rpc.errors import CallFailed, code_name, to_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from manman.domain.idempotency import Attempt
    from manman.errors import Problem

REQUEST_ID_KEY = "x-request-id"
DEFAULT_TIMEOUT_S = 30.0

log = structlog.get_logger(__name__)

RequestT = TypeVar("RequestT", bound="Message")
AnswerT = TypeVar("AnswerT")

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_caller: ContextVar[access.Caller | None] = ContextVar("caller", default=None)
_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def current_request_id() -> str:
    """Return the id of the call being answered; empty outside of calls."""
    return _request_id.get()


def current_caller() -> access.Caller | None:
    """Return who made the call being answered; None outside of calls."""
    return _caller.get()


def current_subject() -> str:
    """Return the name of who made the call being answered; empty outside of calls."""
    caller = _caller.get()
    return caller.subject if caller else ""


def current_attempt() -> Attempt | None:
    """Return which attempt at something the call being answered is; None when its caller gave no idempotency key."""
    return _attempt.get()


class Meter(Protocol):
    """Who counts calls; see `manman.rpc.metrics`."""

    def began(self, method: MethodDescriptor) -> None:
        """Hear of a call that begins; `ended` follows in any case."""

    def ended(self, method: MethodDescriptor, code: str, seconds: float) -> None:
        """Hear how it ended, by the name of its status, and how long it took."""


class Chain:
    """The steps around every call of one process.

    `validate` says what is wrong with a request; None where requests come from our own code only. `timeout_s` is how
    long answering may take when the caller gave no deadline. `journal` keeps a record of every call that may change
    something; None where nobody asks who did what. `meter` hears of every call; None where nobody counts them.
    `tracer` makes a span of every call, streams apart.
    """

    def __init__(
        self,
        authenticate: access.Authenticate,
        validate: Callable[[Message], Sequence[Problem]] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        journal: audit.Journal | None = None,
        meter: Meter | None = None,
        tracer: tracing.Tracer = tracing.OFF,
    ) -> None:
        self._tracer = tracer
        self._authenticate = authenticate
        self._journal = journal
        self._meter = meter
        self._validate = validate
        self._timeout_s = timeout_s
        self._stopping = False
        self._waits: set[asyncio.Timeout] = set()

    async def call(
        self,
        method: MethodDescriptor,
        request: RequestT,
        metadata: Mapping[str, str],
        handler: Callable[[RequestT], Coroutine[Any, Any, AnswerT]],
        *,
        timeout_s: float | None = None,
    ) -> AnswerT:
        """Answer one call; raises CallFailed. `timeout_s` is the caller's own deadline if it gave one."""
        with _Call(method, metadata, self._meter, self._tracer):
            caller = await self._identify(metadata)
            if self._journal is None or not audit.is_recorded(method):
                answer = await self._answer(caller, method, request, metadata, handler=handler, timeout_s=timeout_s)
            else:
                async with audit.recorded(self._journal, method, caller, request, current_request_id()) as ids:
                    answer = await self._answer(caller, method, request, metadata, handler=handler, timeout_s=timeout_s)
                    ids.update(audit.ids_of(answer))
            return answer

    async def stream(
        self,
        method: MethodDescriptor,
        request: RequestT,
        metadata: Mapping[str, str],
        handler: Callable[[RequestT], AsyncIterator[AnswerT]],
    ) -> AsyncGenerator[AnswerT, None]:
        """Answer one streaming call until it ends, the caller leaves or `end_streams`; raises CallFailed.

        Must be consumed, and closed (`contextlib.aclosing`), by one task.
        """
        with _Call(method, metadata, self._meter):
            self._admit(await self._identify(metadata), method, request, metadata)
            items = handler(request)
            async with contextlib.AsyncExitStack() as stack:
                if isinstance(items, AsyncGenerator):
                    await stack.enter_async_context(contextlib.aclosing(items))
                while (item := await self._next(items)) is not None:
                    yield item

    def end_streams(self) -> None:
        """End every stream with UNAVAILABLE, now and from now on: this process stops, another one may take over."""
        self._stopping = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def _next(self, items: AsyncIterator[AnswerT]) -> AnswerT | None:
        """Return the next item, None at the end; raises Unavailable once streams are ended."""
        wait = asyncio.timeout(0 if self._stopping else None)
        try:
            async with wait:
                self._waits.add(wait)
                return await anext(items, None)
        except TimeoutError as error:
            if not wait.expired():
                raise
            raise Unavailable("the service is stopping; connect again") from error
        finally:
            self._waits.discard(wait)

    async def _answer(
        self,
        caller: access.Caller,
        method: MethodDescriptor,
        request: RequestT,
        metadata: Mapping[str, str],
        *,
        handler: Callable[[RequestT], Coroutine[Any, Any, AnswerT]],
        timeout_s: float | None,
    ) -> AnswerT:
        self._admit(caller, method, request, metadata)
        _attempt.set(idempotency.attempt_of(method, request, metadata, caller.subject))
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return await _within(limit_s, method.name, handler(request))

    async def _identify(self, metadata: Mapping[str, str]) -> access.Caller:
        caller = await self._authenticate(metadata)
        _caller.set(caller)
        return caller

    def _admit(
        self, caller: access.Caller, method: MethodDescriptor, request: Message, metadata: Mapping[str, str]
    ) -> None:
        access.require(caller, access.required_role(method), method.name)
        problems = idempotency.key_problems(method, metadata)
        problems += self._validate(request) if self._validate is not None else ()
        if problems:
            raise Invalid(problems)


class _Call:
    """Names the call that is answered in the block, has it counted, and turns whatever goes wrong into CallFailed."""

    __slots__ = ("_began", "_bound", "_meter", "_method", "_request_id", "_span")

    def __init__(
        self,
        method: MethodDescriptor,
        metadata: Mapping[str, str],
        meter: Meter | None,
        tracer: tracing.Tracer = tracing.OFF,
    ) -> None:
        self._method = method
        self._meter = meter
        self._span = _span_of(method, metadata, tracer) if tracer.is_on else None
        self._request_id = request_id_of(metadata)
        self._bound = logs.bind(request_id=self._request_id, rpc=method.name)

    def __enter__(self) -> None:
        _request_id.set(self._request_id)
        self._bound.__enter__()
        self._began = time.monotonic()
        if self._meter is not None:
            self._meter.began(self._method)
        if self._span is not None:
            self._span.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        code = "OK"
        if self._span is not None:
            self._span.__exit__(kind, error, trace)
        try:
            if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                code = "CANCELLED"
            elif isinstance(error, Exception):
                failure = to_failure(error, self._request_id)
                code = code_name(failure.status)
                _log_failure(error, failure)
                raise failure from error
        finally:
            self._bound.__exit__()
            if self._meter is not None:
                self._meter.ended(self._method, code, time.monotonic() - self._began)


def _span_of(method: MethodDescriptor, metadata: Mapping[str, str], tracer: tracing.Tracer) -> tracing.Span:
    service = method.containing_service.full_name
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method.name}
    parent = tracing.parent_in(metadata)
    return tracer.span(f"{service}/{method.name}", parent=parent, kind="server", attributes=attributes)


def request_id_of(metadata: Mapping[str, str]) -> str:
    """Return the caller's request id if it is a plain word, else a new one."""
    given = metadata.get(REQUEST_ID_KEY, "")
    return given if _PLAIN_ID.fullmatch(given) else secrets.token_hex(16)


async def _within(limit_s: float, name: str, answer: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    try:
        async with asyncio.timeout(limit_s) as scope:
            return await answer
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise TimedOut(f"{name} took longer than {limit_s:g} s") from error


def _log_failure(error: Exception, failure: CallFailed) -> None:
    if failure.is_bug:
        log.error("call_failed_by_a_bug", exc_info=error)
    elif isinstance(error, ManManError):
        log.info("call_refused", code=code_name(failure.status), reason=str(error))
