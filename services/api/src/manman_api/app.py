"""The composition root: everything the control API is made of, and in which order it starts and ends.

    database engine, broker connection, requests      -> the parts
    ManManAPI, LogProcessor, AccessControl and more   -> the services
    one chain of steps around every call              -> gRPC port and REST port
    what the processor decided to start again         -> started when it is due

The broker may be away: reading and recording work without it, and readiness says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from manman import clock, service
from manman.background import running
from manman.bus.connection import connect
from manman.bus.requests import Requests
from manman.db.engine import connected, ping
from manman.db.unit_of_work import UnitOfWork
from manman.health import Health
from manman.periodic import run_periodically
from manman.rpc.access import authenticate_by_mode
from manman.rpc.chain import Chain
from manman.rpc.metrics import CallMetrics
from manman.rpc.server import serve, tls_credentials
from manman.rpc.services import Service
from manman.tracing import OFF, traced
from manman.v1 import (
    access_control_pb2,
    api_pb2,
    dead_letters_pb2,
    events_pb2,
    log_processor_pb2,
    workshop_pb2,
    workshop_pb2_grpc,
    wrapper_control_pb2,
    wrapper_control_pb2_grpc,
)
from manman_api import api_tokens, oidc, web
from manman_api.handlers import restarts
from manman_api.journal import DatabaseJournal
from manman_api.rpc.access_control import AccessControl
from manman_api.rpc.api import ManManAPI
from manman_api.rpc.dead_letters import DeadLetters
from manman_api.rpc.events import Events
from manman_api.rpc.log_processor import LogProcessor
from manman_api.rpc.parts import Parts
from manman_api.validation import request_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from manman.bus.connection import Connection
    from manman.db.unit_of_work import Uow
    from manman.rpc.access import Caller, Verify
    from manman.tracing import Tracer
    from manman_api.settings import Settings


@dataclasses.dataclass(frozen=True)
class Addresses:
    """The ports in use."""

    grpc: int
    rest: int
    health: int


async def main(settings: Settings) -> None:
    """Serve until cancelled."""
    async with serving(settings):
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Addresses]:
    """Serve gRPC, REST and probes while the block runs."""
    health = Health()
    async with contextlib.AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(traced(settings, "api"))
        engine = await stack.enter_async_context(connected(settings))
        health.add("database", lambda: ping(engine))
        probes = await stack.enter_async_context(health.serve(settings.health_check_host, settings.health_check_port))
        broker = await stack.enter_async_context(
            connect(settings, "api", component=health.component("broker"), wait=False)
        )
        requests = await stack.enter_async_context(Requests(broker))
        uow = UnitOfWork(engine)
        verify = await stack.enter_async_context(verifying(settings, uow, health))
        chain = chain_of(settings, uow, verify, tracer)
        services = services_of(parts(settings, uow, broker, requests))
        grpc = await stack.enter_async_context(
            serve(
                services,
                chain,
                address=f"{settings.listen_host}:{settings.port}",
                credentials=tls_credentials(
                    settings.grpc_tls_cert_path, settings.grpc_tls_key_path, settings.grpc_tls_client_ca_path
                ),
                component=health.component("grpc"),
                with_reflection=settings.grpc_reflection,
            )
        )
        site = web.build(services, chain, settings.rest_cors_origins)
        rest = await stack.enter_async_context(
            web.serve(site, chain, host=settings.listen_host, port=settings.rest_port)
        )
        with_restarts = restarting(settings, uow)
        await stack.enter_async_context(running(with_restarts, "restarts"))
        service.settle()
        health.complete()
        yield Addresses(grpc.port, rest, probes)


async def restarting(settings: Settings, uow: Uow) -> None:
    """Start what is to be started again and is due, for ever."""
    patience = timedelta(seconds=settings.restart_patience_seconds)

    async def sweep(now: datetime) -> int:
        return await restarts.start_due(timeout_s=settings.start_timeout_seconds, patience=patience, now=now, uow=uow)

    await run_periodically("due_restarts", sweep, settings.restart_interval_seconds)


@contextlib.asynccontextmanager
async def verifying(settings: Settings, uow: Uow, health: Health) -> AsyncIterator[Verify]:
    """Give the function that knows the holders of tokens: API tokens, and the issuer's where one is asked for."""
    by_api_token = api_tokens.verify_in(uow, clock.now)
    if settings.grpc_auth_mode != "oidc":
        yield by_api_token
        return
    roles = oidc.read_roles(settings.grpc_oidc_roles)
    audience = settings.grpc_oidc_client_id
    async with oidc.issuer(settings.grpc_oidc_issuer, audience=audience, roles=roles, now=clock.now) as issuer:
        health.add("issuer", issuer.ready)

        async def verify(token: str) -> Caller:
            return await (by_api_token if token.startswith(api_tokens.PREFIX) else issuer.verify)(token)

        yield verify


def chain_of(settings: Settings, uow: Uow, verify: Verify, tracer: Tracer = OFF) -> Chain:
    """Return the steps around every call: who calls by the mode that is set, the rules, audit, counts, spans."""
    authenticate = authenticate_by_mode(settings.grpc_auth_mode, verify)
    journal = DatabaseJournal(uow, clock.now)
    return Chain(authenticate, request_rules(), journal=journal, meter=CallMetrics(), tracer=tracer)


def parts(settings: Settings, uow: Uow, broker: Connection, requests: Requests) -> Parts:
    """Return what servicers work with."""
    return Parts(
        uow=uow,
        now=clock.now,
        requests=requests,
        broker=broker,
        default_ranges=settings.port_ranges,
        start_timeout_s=settings.start_timeout_seconds,
        input_timeout_s=settings.input_timeout_seconds,
        log_idle_s=settings.log_idle_seconds,
    )


def services_of(with_parts: Parts) -> Sequence[Service]:
    """Return the platform's services; the last two are listed so that clients find them, and not built here."""
    control = ManManAPI(with_parts)  # type: ignore[abstract] # what is not built yet answers UNIMPLEMENTED
    workshop = workshop_pb2_grpc.WorkshopServiceServicer()  # type: ignore[abstract] # the same
    wrapper = wrapper_control_pb2_grpc.WrapperControlServicer()  # type: ignore[abstract] # wrappers serve it, not we
    return (
        Service(api_pb2.DESCRIPTOR.services_by_name["ManManAPI"], control),
        Service(log_processor_pb2.DESCRIPTOR.services_by_name["LogProcessor"], LogProcessor(with_parts)),
        Service(access_control_pb2.DESCRIPTOR.services_by_name["AccessControl"], AccessControl(with_parts)),
        Service(dead_letters_pb2.DESCRIPTOR.services_by_name["DeadLetters"], DeadLetters(with_parts)),
        Service(events_pb2.DESCRIPTOR.services_by_name["Events"], Events(with_parts)),
        Service(workshop_pb2.DESCRIPTOR.services_by_name["WorkshopService"], workshop),
        Service(wrapper_control_pb2.DESCRIPTOR.services_by_name["WrapperControl"], wrapper),
    )
